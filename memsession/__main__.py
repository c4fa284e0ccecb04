"""`python -m memsession`: the command `memsession`, where its folder is not in the path."""

from memsession.command import main

if __name__ == "__main__":
    main()
