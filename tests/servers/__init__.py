"""servers - real servers and their clients, a module each kind. What a group is: group.py."""
