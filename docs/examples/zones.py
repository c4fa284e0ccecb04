from memsession import Pool

pool = Pool(
    "a=10.0.0.94",
    "b=10.0.0.95",
    "c=10.1.0.94",
    "d=10.1.0.95",
    copies=2,
    zones={"a": "east", "b": "east", "c": "west", "d": "west"},
)
same = Pool("a=10.0.0.94?zone=east", "b=10.0.0.95?zone=east", "c=10.1.0.94?zone=west", "d=10.1.0.95?zone=west")
