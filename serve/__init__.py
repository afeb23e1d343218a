"""A web page and a REST API over the same functions as the commands. The last layer: nothing imports it."""
