"""One HTTP/1.1 exchange on a gevent socket, with the receive times of its bytes."""
