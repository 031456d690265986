"""Many clients through a small pool; every byte of every answer is what a client alone would have read.

    messages.py   what may be sent, and in words; answers in a form that two servers can be compared by
    peer.py       one raw connection that knows which answers are still owed
    texts.py      SQL at random, with the token of its client
    client.py     one client: what it sends goes to pgweir and to a Postgres of its own, and both say the same
    crowd.py      the database, all clients at once, and what must be left when they have gone
"""
