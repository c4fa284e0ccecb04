"""The visit counter of the articles. See `memsession.demo`."""
