#!/usr/bin/python3 -B
"""orm.py URL NUMBER (--prepare | --seconds N | --transactions N) - what an ORM sends for a web application.

Each request checks a connection of SQLAlchemy's pool out, as the framework's middleware would, and is one
transaction: reads with relations, a form that is saved, a nested transaction, a report. Prints how many, and how long.
"""

import argparse
import random
import time

import sqlalchemy as sa
from sqlalchemy import orm

Base = orm.declarative_base()


class Author(Base):
    __tablename__ = "author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String, nullable=False)
    posts = orm.relationship("Post", back_populates="author")


class Post(Base):
    __tablename__ = "post"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String, nullable=False)
    views = sa.Column(sa.Integer, nullable=False, default=0)
    details = sa.Column(sa.JSON)
    author_id = sa.Column(sa.ForeignKey(Author.id), index=True)
    author = orm.relationship(Author, back_populates="posts")


AUTHORS = 50


def show(session, chance):
    post = session.get(Post, chance.randint(1, AUTHORS * 4))
    return post and post.author.name


def listing(session, chance):
    asked = sa.select(Author).options(orm.selectinload(Author.posts)).order_by(Author.name)
    return session.scalars(asked.limit(10).offset(chance.randint(0, AUTHORS - 10))).all()


def save(session, chance):
    post = session.get(Post, chance.randint(1, AUTHORS * 4), with_for_update=True)
    post.views += 1
    session.flush()


def create(session, chance):
    with session.begin_nested():
        session.add(Post(title="new", author_id=chance.randint(1, AUTHORS), details={"tags": ["a", "b"]}))


def report(session, _):
    count = sa.func.count(Post.id)
    return session.execute(sa.select(Author.name, count).join(Post).group_by(Author.name).order_by(count.desc()).limit(5)).all()


REQUESTS = [show] * 5 + [listing] * 2 + [save] * 2 + [create, report]


def prepare(engine):
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session, session.begin():
        for number in range(AUTHORS):
            posts = [Post(title=f"post {n}", details={"n": n}) for n in range(4)]
            session.add(Author(name=f"author {number}", posts=posts))


def serve(engine, number, seconds, transactions):
    chance = random.Random(number)
    count, begun = 0, time.monotonic()
    while count < transactions if transactions else time.monotonic() - begun < seconds:
        with orm.Session(engine) as session, session.begin():
            chance.choice(REQUESTS)(session, chance)
        count += 1
    print(count, time.monotonic() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("number", type=int)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--transactions", type=int)
    options = parser.parse_args()
    engine = sa.create_engine(options.url, pool_size=1, future=True)
    if options.prepare:
        prepare(engine)
    else:
        serve(engine, options.number, options.seconds, options.transactions)


if __name__ == "__main__":
    main()
