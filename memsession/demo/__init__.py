"""The demo: memcached servers, two web servers and a proxy on this machine, to stop and start under one's visits."""
