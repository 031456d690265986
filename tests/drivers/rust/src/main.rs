// tokio-postgres: everything is prepared by a name and pipelined where futures run at the same time.
mod contract;

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use contract::{config, connect, equal, fails, me, play, say, session, token, Outcome};
use futures_util::future::{join_all, poll_fn};
use futures_util::{pin_mut, SinkExt, TryStreamExt};
use tokio_postgres::{AsyncMessage, IsolationLevel, NoTls, SimpleQueryMessage};

async fn parameters() -> Outcome {
    let client = connect().await?;
    for n in 0..30i32 {
        let row = client.query_one("select $1::text, $2::int4, $3::text", &[&token(), &n, &None::<&str>]).await?;
        equal((row.get(0), row.get(1), row.get(2)), (token(), n, None::<String>))?;
    }
    Ok(())
}

async fn prepared_statements() -> Outcome {
    let client = connect().await?;
    let mut statements = Vec::new();
    for n in 0..8 {
        statements.push(client.prepare(&format!("select '{}/{n}', $1::int4 + {n}", token())).await?);
    }
    for round in 0..10i32 {
        for (n, statement) in statements.iter().enumerate() {
            let row = client.query_one(statement, &[&round]).await?;
            equal((row.get(0), row.get(1)), (format!("{}/{n}", token()), round + n as i32))?;
        }
        // Dropped ones are closed, and prepared again by another name.
        statements[3] = client.prepare(&format!("select '{}/3', $1::int4 + 3", token())).await?;
    }
    Ok(())
}

async fn pipelined() -> Outcome {
    let client = connect().await?;
    let statement = client.prepare("select $1::text, $2::int4").await?;
    for _ in 0..5 {
        let whose = token();
        let asked: Vec<i32> = (0..50).collect();
        let answers = join_all(asked.iter().map(|n| {
            let (client, statement, whose) = (&client, &statement, &whose);
            async move { client.query_one(statement, &[whose, n]).await }
        }));
        for (n, answer) in answers.await.into_iter().enumerate() {
            let row = answer?;
            equal((row.get(0), row.get(1)), (token(), n as i32))?;
        }
    }
    Ok(())
}

async fn pipelined_with_errors() -> Outcome {
    let client = connect().await?;
    let statement = client.prepare("select 100 / $1::int4").await?;
    let asked: Vec<i32> = (0..20).map(|n| n % 4).collect();
    let answers = join_all(asked.iter().map(|n| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[n]).await }
    }));
    for (n, answer) in asked.iter().zip(answers.await) {
        match n {
            0 => fails(answer, "22012")?,
            n => equal(answer?.get::<_, i32>(0), 100 / n)?,
        }
    }
    Ok(())
}

async fn prepared_at_the_same_time() -> Outcome {
    let client = connect().await?;
    let texts: Vec<String> = (0..20).map(|n| format!("select '{}/{n}'", token())).collect();
    let answers = join_all(texts.iter().map(|text| client.query_one(text.as_str(), &[])));
    for (n, answer) in answers.await.into_iter().enumerate() {
        equal(answer?.get::<_, String>(0), format!("{}/{n}", token()))?;
    }
    Ok(())
}

async fn transactions() -> Outcome {
    let mut client = connect().await?;
    let table = format!("t_{}", token());
    let insert = format!("insert into {table} values ($1, $2)");
    client.batch_execute(&format!("create table {table} (n int4 primary key, who text)")).await?;
    for n in 0..20i32 {
        let transaction = client.transaction().await?;
        transaction.execute(insert.as_str(), &[&n, &token()]).await?;
        match n % 3 {
            0 => fails(transaction.execute(insert.as_str(), &[&n, &"again"]).await, "23505")?,
            1 => transaction.commit().await?,
            _ => drop(transaction), // rolls back
        }
    }
    let rows = client.query(format!("select n, who from {table} order by n").as_str(), &[]).await?;
    let found: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    equal(found, (0..20).filter(|n| n % 3 == 1).map(|n| (n, token())).collect())
}

async fn savepoints() -> Outcome {
    let mut client = connect().await?;
    let table = format!("inner_{}", token());
    client.batch_execute(&format!("create table {table} (n int4 primary key)")).await?;
    let mut transaction = client.transaction().await?;
    let insert = transaction.prepare(&format!("insert into {table} values ($1)")).await?;
    for n in 0..6i32 {
        transaction.execute(&insert, &[&n]).await?;
        let inner = transaction.savepoint("again").await?;
        fails(inner.execute(&insert, &[&n]).await, "23505")?;
        inner.rollback().await?;
    }
    transaction.commit().await?;
    let count: i64 = client.query_one(format!("select count(*) from {table}").as_str(), &[]).await?.get(0);
    equal(count, 6)
}

async fn isolation_level() -> Outcome {
    let mut client = connect().await?;
    for _ in 0..4 {
        let builder = client.build_transaction().isolation_level(IsolationLevel::Serializable).read_only(true);
        let transaction = builder.start().await?;
        let row = transaction.query_one("show transaction_isolation", &[]).await?;
        equal(row.get::<_, String>(0), "serializable".to_string())?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn portals() -> Outcome {
    let mut client = connect().await?;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("select n, $1::text from generate_series(1, 1000) n", &[&token()]).await?;
    let mut sum = 0;
    loop {
        let rows = transaction.query_portal(&portal, 70).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            equal(row.get::<_, String>(1), token())?;
            sum += row.get::<_, i32>(0);
        }
    }
    transaction.commit().await?;
    equal(sum, 500_500)
}

async fn copy() -> Outcome {
    let client = connect().await?;
    let table = format!("copy_{}", token());
    client.batch_execute(&format!("create table {table} (n int4, who text)")).await?;
    let sink = client.copy_in(format!("copy {table} from stdin").as_str()).await?;
    pin_mut!(sink);
    for n in 0..3000 {
        sink.send(Bytes::from(format!("{n}\t{}\n", token()))).await?;
    }
    equal(sink.finish().await?, 3000)?;
    let stream = client.copy_out(format!("copy {table} to stdout").as_str()).await?;
    let chunks: Vec<Bytes> = stream.try_collect().await?;
    let text = String::from_utf8(chunks.concat())?;
    let own = format!("\t{}", token());
    equal(text.lines().filter(|line| line.ends_with(&own)).count(), 3000)?;
    {
        // Given up in the middle: the sink is dropped.
        let given_up = client.copy_in(format!("copy {table} from stdin").as_str()).await?;
        pin_mut!(given_up);
        given_up.send(Bytes::from_static(b"1\tnobody\n")).await?;
    }
    let count: i64 = client.query_one(format!("select count(*) from {table}").as_str(), &[]).await?.get(0);
    equal(count, 3000)
}

async fn cancel() -> Outcome {
    let client = connect().await?;
    for _ in 0..3 {
        let token = client.cancel_token();
        let canceled = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            token.cancel_query(NoTls).await
        });
        fails(client.query("select pg_sleep(20)", &[]).await, "57014")?;
        canceled.await??;
    }
    equal(client.query_one("select $1::text", &[&token()]).await?.get::<_, String>(0), token())
}

async fn simple_queries() -> Outcome {
    let client = connect().await?;
    let text = format!("create temp table mine as select '{}'::text as me; select me from mine; drop table mine", token());
    let mut found = Vec::new();
    for message in client.simple_query(&text).await? {
        if let SimpleQueryMessage::Row(row) = message {
            found.push(row.get(0).map(str::to_string));
        }
    }
    equal(found, vec![Some(token())])
}

async fn types_of_the_database() -> Outcome {
    let client = connect().await?;
    // tokio-postgres asks the catalog for them, by statements of its own that it keeps.
    client.batch_execute(&format!("create type mood_{0} as enum ('{0}', 'other')", token())).await?;
    for _ in 0..5 {
        let row = client.query_one(format!("select '{0}'::mood_{0}, '{0}'::text", token()).as_str(), &[]).await?;
        equal(row.columns()[0].type_().name().to_string(), format!("mood_{}", token()))?;
        equal(row.get::<_, String>(1), token())?;
    }
    Ok(())
}

async fn notifications() -> Outcome {
    let (client, mut connection) = config().connect(NoTls).await?;
    let (heard, inbox) = mpsc::channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(note) = message {
                let _ = heard.send((note.channel().to_string(), note.payload().to_string()));
            }
        }
    });
    let other = connect().await?;
    client.batch_execute(&format!("listen note_{}", token())).await?;
    for n in 0..10 {
        other.execute(format!("notify note_{0}, '{0}/{n}'", token()).as_str(), &[]).await?;
    }
    let mut found = Vec::new();
    for _ in 0..100 {
        found.extend(inbox.try_iter());
        if found.len() >= 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    equal(found, (0..10).map(|n| (format!("note_{}", token()), format!("{}/{n}", token()))).collect())
}

async fn startup_options() -> Outcome {
    let mut with = config();
    with.options(&format!("-c work_mem=1{}MB -c search_path=p_{}", me(), token())).application_name(&token());
    let (client, connection) = with.connect(NoTls).await?;
    tokio::spawn(connection);
    for _ in 0..5 {
        let asked = "select current_setting('work_mem') || ' ' || current_setting('search_path') || ' ' || current_setting('application_name')";
        let row = client.query_one(asked, &[]).await?;
        equal(row.get::<_, String>(0), format!("1{}MB p_{} {}", me(), token(), token()))?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().nth(1).expect("session.txt");
    drop(connect().await.unwrap());
    println!("version {}\nready", env!("TOKIO_POSTGRES_VERSION"));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for (name, steps) in session(&path) {
        say(&name, play(&steps)).await;
    }
    say("parameters", parameters()).await;
    say("prepared_statements", prepared_statements()).await;
    say("pipelined", pipelined()).await;
    say("pipelined_with_errors", pipelined_with_errors()).await;
    say("prepared_at_the_same_time", prepared_at_the_same_time()).await;
    say("transactions", transactions()).await;
    say("savepoints", savepoints()).await;
    say("isolation_level", isolation_level()).await;
    say("portals", portals()).await;
    say("copy", copy()).await;
    say("cancel", cancel()).await;
    say("simple_queries", simple_queries()).await;
    say("types_of_the_database", types_of_the_database()).await;
    say("notifications", notifications()).await;
    say("startup_options", startup_options()).await;
    println!("done");
}
