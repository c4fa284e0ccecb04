from memsession import Pool

before = Pool("10.0.0.94", "10.0.0.95")
now = Pool("10.0.0.94", "10.0.0.95", "10.0.0.96", copies=2, previous=before)
