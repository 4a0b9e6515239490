"""From a connection to a call: hosts, signatures, XML, errors."""
