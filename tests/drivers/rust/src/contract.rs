// The contract of tests/drivers for programs in Rust; see ../../README.md.
use std::collections::HashMap;
use std::future::Future;

use tokio_postgres::{Client, Config, NoTls};

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

pub fn me() -> String {
    std::env::var("CLIENT").unwrap()
}

pub fn token() -> String {
    format!("c{}", me())
}

pub fn config() -> Config {
    std::env::var("DATABASE_URL").unwrap().parse().unwrap()
}

pub async fn connect() -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config().connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub fn equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{got:?}, not {wanted:?}").into())
}

pub fn fails<T>(got: Result<T, tokio_postgres::Error>, state: &str) -> Outcome {
    match got {
        Ok(_) => Err(format!("no {state}").into()),
        Err(error) if error.code().map_or(false, |code| code.code() == state) => Ok(()),
        Err(error) => Err(format!("{error:?}, not {state}").into()),
    }
}

pub async fn say(name: &str, scenario: impl Future<Output = Outcome>) {
    match scenario.await {
        Ok(()) => println!("ok {name}"),
        Err(error) => {
            let said = error.to_string();
            println!("FAIL {name} {}", said.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

/// session.txt with our number and token: the scenarios with their lines.
pub fn session(path: &str) -> Vec<(String, Vec<String>)> {
    let mut scenarios: Vec<(String, Vec<String>)> = Vec::new();
    let database = std::env::var("PGDATABASE").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("{c}", &me()).replace("{t}", &token()).replace("{d}", &database);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("scenario ") {
            Some(name) => scenarios.push((name.to_string(), Vec::new())),
            None => scenarios.last_mut().unwrap().1.push(line.to_string()),
        }
    }
    scenarios
}

/// A scenario of session.txt on connections of its own.
pub async fn play(steps: &[String]) -> Outcome {
    let mut clients = HashMap::new();
    for (number, line) in steps.iter().enumerate() {
        let own = line.strip_prefix("other ").unwrap_or(line);
        let other = own != line;
        if !clients.contains_key(&other) {
            clients.insert(other, connect().await?);
        }
        step(&clients[&other], own).await.map_err(|error| format!("step {} ({line}): {error}", number + 1))?;
    }
    Ok(())
}

async fn step(client: &Client, line: &str) -> Outcome {
    let (verb, rest) = line.split_once(' ').unwrap();
    if verb == "do" {
        client.execute(rest, &[]).await?;
        return Ok(());
    }
    let (value, sql) = rest.split_once(" :: ").unwrap();
    let value = value.trim();
    match verb {
        "fails" => fails(client.execute(sql, &[]).await, value),
        "is" | "same" => {
            for _ in 0..if verb == "is" { 1 } else { 5 } {
                let rows = client.query(sql, &[]).await?;
                let row = rows.first().ok_or("no row")?;
                equal(row.try_get::<_, &str>(0)?, value)?;
            }
            Ok(())
        }
        _ => Err(format!("no verb {verb}").into()),
    }
}
