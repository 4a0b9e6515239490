"""From a request to a call: hosts, signatures, rules, XML, errors."""
