from memsession import Pool

pools = [
    Pool("10.0.0.94", "10.0.0.95", copies=2),  # port 11211 unless given
    Pool("cache-a:11211", "cache-b:11212", "[::1]:11213", "unix:///run/memcached.sock"),
    Pool("memcached://a:11211,b:11211?copies=2"),
    Pool("10.0.0.94:11211,10.0.0.95:11211"),  # session.save_path of php-memcached
    Pool("tcp://10.0.0.94:11211?weight=2, tcp://10.0.0.95:11211"),  # and of pecl-memcache, as they stand
    Pool("a=10.0.0.94", "b=10.0.0.95"),  # names that stay when an address changes
    Pool("memory://"),  # in this process, for development
]
