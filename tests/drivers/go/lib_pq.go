// lib/pq over database/sql: Parse "" + Describe + Sync, then Bind "" in the next round trip.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

var db *sql.DB

type conn struct{ *sql.Conn }

func open() (session, error) {
	one, err := sql.Open("postgres", os.Getenv("DATABASE_URL")+"?sslmode=disable")
	if err != nil {
		return nil, err
	}
	made, err := one.Conn(context.Background())
	return owner{conn{made}, one}, err
}

// owner closes the pool of a single connection.
type owner struct {
	conn
	pool *sql.DB
}

func (o owner) close() { o.Conn.Close(); o.pool.Close() }

func (c conn) do(text string) error {
	_, err := c.ExecContext(context.Background(), text)
	return err
}

func (c conn) rows(text string) (all []string, err error) {
	rows, err := c.QueryContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	for rows.Next() {
		values := make([]interface{}, len(columns))
		for n := range values {
			values[n] = new(sql.NullString)
		}
		if err := rows.Scan(values...); err != nil {
			return nil, err
		}
		all = append(all, values[0].(*sql.NullString).String)
	}
	return all, rows.Err()
}

// ask checks one row with our token and n.
func ask(q interface {
	QueryRow(string, ...interface{}) *sql.Row
}, n int) error {
	var who string
	var got int
	if err := q.QueryRow("select $1::text, $2::int", token, n).Scan(&who, &got); err != nil {
		return err
	}
	return equal(fmt.Sprint(who, got), fmt.Sprint(token, n))
}

func main() {
	var err error
	if db, err = sql.Open("postgres", os.Getenv("DATABASE_URL")+"?sslmode=disable"); err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(4)

	add("unnamed_statements", func() error {
		for n := 0; n < 300; n++ {
			if err := ask(db, n); err != nil {
				return err
			}
		}
		return nil
	})
	add("unnamed_statements_of_goroutines", func() error {
		errs := make([]error, 8)
		var wait sync.WaitGroup
		for g := range errs {
			wait.Add(1)
			go func(g int) {
				defer wait.Done()
				for n := 0; n < 60 && errs[g] == nil; n++ {
					errs[g] = ask(db, g*1000+n)
				}
			}(g)
		}
		wait.Wait()
		return first(errs...)
	})
	add("unnamed_statements_of_different_types", func() error {
		for n := 0; n < 60; n++ {
			var text string
			var list pq.Int64Array
			var yes bool
			if err := first(
				db.QueryRow(fmt.Sprintf("select $1::text || '%s %d'", token, n), "x").Scan(&text),
				db.QueryRow("select array[$1::int, $2]", n, 7).Scan(&list),
				db.QueryRow("select $1 = any($2::text[])", token, pq.Array([]string{"a", token})).Scan(&yes)); err != nil {
				return err
			}
			if err := first(equal(text, fmt.Sprintf("x%s %d", token, n)), equal([]int64(list), []int64{int64(n), 7}), equal(yes, true)); err != nil {
				return err
			}
		}
		return nil
	})
	add("big_unnamed_statements", func() error {
		for _, size := range []int{1000, 15000, 17000, 200000} {
			var who string
			text := "select $1::text /* " + strings.Repeat("x", size) + " */"
			for n := 0; n < 4; n++ {
				if err := db.QueryRow(text, token).Scan(&who); err != nil {
					return fmt.Errorf("%d bytes: %w", size, err)
				}
				if err := equal(who, token); err != nil {
					return err
				}
			}
		}
		return nil
	})
	add("binary_parameters", func() error {
		other, _ := sql.Open("postgres", os.Getenv("DATABASE_URL")+"?sslmode=disable&binary_parameters=yes")
		defer other.Close()
		for n := 0; n < 40; n++ {
			if err := ask(other, n); err != nil {
				return err
			}
		}
		return nil
	})
	add("prepared_statements", func() error {
		statement, err := db.Prepare("select $1::text || '" + token + "', $2::int")
		if err != nil {
			return err
		}
		defer statement.Close()
		for n := 0; n < 60; n++ {
			var who string
			var got int
			if err := first(statement.QueryRow("x", n).Scan(&who, &got), equal(fmt.Sprint(who, got), fmt.Sprint("x"+token, n))); err != nil {
				return err
			}
		}
		return nil
	})
	add("many_prepared_statements", func() error {
		var all []*sql.Stmt
		for n := 0; n < 250; n++ {
			statement, err := db.Prepare(fmt.Sprintf("select $1::text, %d", n))
			if err != nil {
				return err
			}
			defer statement.Close()
			all = append(all, statement)
		}
		for n, statement := range all {
			var who string
			var got int
			if err := first(statement.QueryRow(token).Scan(&who, &got), equal(fmt.Sprint(who, got), fmt.Sprint(token, n))); err != nil {
				return err
			}
		}
		return nil
	})
	add("transactions", func() error {
		if _, err := db.Exec("create table t_" + token + " (n int primary key, who text)"); err != nil {
			return err
		}
		for n := 0; n < 20; n++ {
			tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			if _, err := tx.Exec("insert into t_"+token+" values ($1, $2)", n, token); err != nil {
				return err
			}
			if n%3 == 0 {
				_, err = tx.Exec("insert into t_"+token+" values ($1, $2)", n, token)
				err = first(fails(err, "23505"), tx.Rollback())
			} else {
				err = first(ask(tx, n), tx.Commit())
			}
			if err != nil {
				return err
			}
		}
		var count int
		return first(db.QueryRow("select count(*) from t_"+token+" where who = $1", token).Scan(&count), equal(count, 13))
	})
	add("errors", func() error {
		for n := 0; n < 10; n++ {
			_, err := db.Exec("select 1/$1::int", 0)
			_, err2 := db.Query("select * from nowhere where x = $1", 1)
			if err := first(fails(err, "22012"), fails(err2, "42P01"), ask(db, n)); err != nil {
				return err
			}
		}
		return nil
	})
	add("copy_in", func() error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		if _, err := tx.Exec("create table copy_" + token + " (n int, who text)"); err != nil {
			return err
		}
		statement, err := tx.Prepare(pq.CopyIn("copy_"+token, "n", "who"))
		if err != nil {
			return err
		}
		for n := 0; n < 3000; n++ {
			if _, err := statement.Exec(n, token); err != nil {
				return err
			}
		}
		_, err = statement.Exec()
		var count int
		return first(err, statement.Close(), tx.Commit(),
			db.QueryRow("select count(*) from copy_"+token+" where who = $1", token).Scan(&count), equal(count, 3000))
	})
	add("cancel_by_context", func() error {
		for n := 0; n < 2; n++ {
			limited, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
			started := time.Now()
			_, err := db.ExecContext(limited, "select pg_sleep(10)")
			stop()
			if err == nil || time.Since(started) > 8*time.Second {
				return fmt.Errorf("%v after %v", err, time.Since(started))
			}
			if err := ask(db, n); err != nil {
				return err
			}
		}
		return nil
	})
	add("listen_notify", func() error {
		listener := pq.NewListener(os.Getenv("DATABASE_URL")+"?sslmode=disable", time.Second, time.Second, nil)
		defer listener.Close()
		if err := listener.Listen("channel_" + token); err != nil {
			return err
		}
		if _, err := db.Exec("select pg_notify($1, $2)", "channel_"+token, token); err != nil {
			return err
		}
		select {
		case note := <-listener.Notify:
			return equal(note.Extra, token)
		case <-time.After(2 * time.Second):
			return fmt.Errorf("no notification")
		}
	})
	add("many_rows", func() error {
		rows, err := db.Query("select n, $1::text from generate_series(1, 20000) n", token)
		if err != nil {
			return err
		}
		defer rows.Close()
		sum := 0
		for rows.Next() {
			var n int
			var who string
			if err := first(rows.Scan(&n, &who), equal(who, token)); err != nil {
				return err
			}
			sum += n
		}
		return first(rows.Err(), equal(sum, 200010000))
	})
	add("rows_left_unread", func() error {
		for n := 0; n < 10; n++ {
			rows, err := db.Query("select n, $1::text from generate_series(1, 2000) n", token)
			if err != nil {
				return err
			}
			rows.Next()
			if err := first(rows.Close(), ask(db, n)); err != nil {
				return err
			}
		}
		return nil
	})
	runAll("1.10.7, Go", open)
}
