"""One HTTP/1.1 exchange on a socket of gevent's, and when its bytes came in."""
