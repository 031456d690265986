// pgx v4: its statement cache (named statements), batches, copy, pool.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var ctx = context.Background()

type conn struct{ *pgx.Conn }

func open() (session, error) {
	one, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL")+"?sslmode=disable")
	return conn{one}, err
}

func (c conn) close() { c.Close(ctx) }

func (c conn) do(text string) error {
	_, err := c.Exec(ctx, text)
	return err
}

func (c conn) rows(text string) (all []string, err error) {
	rows, err := c.Query(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprint(values[0]))
	}
	return all, rows.Err()
}

type asker interface {
	QueryRow(context.Context, string, ...interface{}) pgx.Row
}

func ask(q asker, n int) error {
	var who string
	var got int
	if err := q.QueryRow(ctx, "select $1::text, $2::int", token, n).Scan(&who, &got); err != nil {
		return err
	}
	return equal(fmt.Sprint(who, got), fmt.Sprint(token, n))
}

// on adds a scenario with a connection of its own.
func on(name string, options string, run func(*pgx.Conn) error) {
	add(name, func() error {
		one, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL")+"?sslmode=disable"+options)
		if err != nil {
			return err
		}
		defer one.Close(ctx)
		return run(one)
	})
}

func main() {
	repeat := func(one *pgx.Conn) error {
		for n := 0; n < 100; n++ {
			if err := ask(one, n); err != nil {
				return err
			}
		}
		return nil
	}
	on("statement_cache_prepare", "", repeat)
	on("statement_cache_describe", "&statement_cache_mode=describe", repeat)
	on("statement_cache_off", "&statement_cache_capacity=0", repeat)
	on("simple_protocol", "&prefer_simple_protocol=true", repeat)
	on("cache_overflows", "&statement_cache_capacity=50", func(one *pgx.Conn) error {
		for n := 0; n < 400; n++ {
			var who string
			var got int
			if err := first(one.QueryRow(ctx, fmt.Sprintf("select $1::text, %d", n%200), token).Scan(&who, &got), equal(fmt.Sprint(who, got), fmt.Sprint(token, n%200))); err != nil {
				return err
			}
		}
		return nil
	})
	on("prepare_and_deallocate", "", func(one *pgx.Conn) error {
		for n := 0; n < 30; n++ {
			if _, err := one.Prepare(ctx, "mine", fmt.Sprintf("select $1::text || '%s%d'", token, n)); err != nil {
				return err
			}
			for k := 0; k < 3; k++ {
				var who string
				if err := first(one.QueryRow(ctx, "mine", "x").Scan(&who), equal(who, fmt.Sprintf("x%s%d", token, n))); err != nil {
					return err
				}
			}
			if err := one.Deallocate(ctx, "mine"); err != nil {
				return err
			}
		}
		return nil
	})
	on("batch", "", func(one *pgx.Conn) error {
		for turn := 0; turn < 10; turn++ {
			batch := &pgx.Batch{}
			for n := 0; n < 30; n++ {
				batch.Queue("select $1::text, $2::int", token, n)
			}
			results := one.SendBatch(ctx, batch)
			for n := 0; n < 30; n++ {
				var who string
				var got int
				if err := first(results.QueryRow().Scan(&who, &got), equal(fmt.Sprint(who, got), fmt.Sprint(token, n))); err != nil {
					return err
				}
			}
			if err := results.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	on("batch_with_an_error", "", func(one *pgx.Conn) error {
		for turn := 0; turn < 5; turn++ {
			batch := &pgx.Batch{}
			for n := 0; n < 10; n++ {
				batch.Queue("select 10 / $1::int", 5-n)
			}
			results := one.SendBatch(ctx, batch)
			for n := 0; n < 5; n++ {
				var got int
				if err := results.QueryRow().Scan(&got); err != nil {
					return err
				}
			}
			_, err := results.Exec()
			results.Close()
			if err := first(fails(err, "22012"), ask(one, turn)); err != nil {
				return err
			}
		}
		return nil
	})
	on("transactions", "", func(one *pgx.Conn) error {
		if _, err := one.Exec(ctx, "create table t_"+token+" (n int primary key, who text)"); err != nil {
			return err
		}
		for n := 0; n < 20; n++ {
			err := one.BeginTxFunc(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "insert into t_"+token+" values ($1, $2)", n, token); err != nil {
					return err
				}
				err := tx.BeginFunc(ctx, func(inner pgx.Tx) error {
					_, err := inner.Exec(ctx, "insert into t_"+token+" values ($1, 'again')", n)
					return err
				})
				if err := fails(err, "23505"); err != nil {
					return err
				}
				if n%3 == 0 {
					return errors.New("back")
				}
				return ask(tx, n)
			})
			if n%3 == 0 && err != nil && err.Error() == "back" {
				err = nil
			}
			if err != nil {
				return err
			}
		}
		var count int
		return first(one.QueryRow(ctx, "select count(*) from t_"+token+" where who = $1", token).Scan(&count), equal(count, 13))
	})
	on("copy", "", func(one *pgx.Conn) error {
		if _, err := one.Exec(ctx, "create table copy_"+token+" (n int, who text)"); err != nil {
			return err
		}
		rows := make([][]interface{}, 3000)
		for n := range rows {
			rows[n] = []interface{}{n, token}
		}
		copied, err := one.CopyFrom(ctx, pgx.Identifier{"copy_" + token}, []string{"n", "who"}, pgx.CopyFromRows(rows))
		var count int
		return first(err, equal(copied, int64(3000)), one.QueryRow(ctx, "select count(*) from copy_"+token+" where who = $1", token).Scan(&count), equal(count, 3000))
	})
	on("large_objects", "", func(one *pgx.Conn) error {
		return one.BeginFunc(ctx, func(tx pgx.Tx) error {
			objects := tx.LargeObjects()
			id, err := objects.Create(ctx, 0)
			if err != nil {
				return err
			}
			object, err := objects.Open(ctx, id, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
			if err != nil {
				return err
			}
			_, err = object.Write([]byte(token))
			_, err2 := object.Seek(0, 0)
			buffer := make([]byte, len(token))
			_, err3 := object.Read(buffer)
			return first(err, err2, err3, equal(string(buffer), token), objects.Unlink(ctx, id))
		})
	})
	on("listen_notify", "", func(one *pgx.Conn) error {
		if _, err := one.Exec(ctx, "listen channel_"+token); err != nil {
			return err
		}
		other, err := open()
		if err != nil {
			return err
		}
		defer other.close()
		if err := other.do("notify channel_" + token + ", '" + token + "'"); err != nil {
			return err
		}
		limited, stop := context.WithTimeout(ctx, 2*time.Second)
		defer stop()
		note, err := one.WaitForNotification(limited)
		if err != nil {
			return err
		}
		return equal(note.Payload, token)
	})
	on("cancel_request", "", func(one *pgx.Conn) error {
		for n := 0; n < 2; n++ {
			time.AfterFunc(300*time.Millisecond, func() { one.PgConn().CancelRequest(ctx) })
			started := time.Now()
			_, err := one.Exec(ctx, "select pg_sleep(10)")
			if err := first(fails(err, "57014"), ask(one, n)); err != nil || time.Since(started) > 8*time.Second {
				return fmt.Errorf("%v after %v", err, time.Since(started))
			}
		}
		return nil
	})
	on("table_changes_under_a_statement", "", func(one *pgx.Conn) error {
		_, err := one.Exec(ctx, fmt.Sprintf("create table ch_%s as select %s as a", token, me))
		if err != nil {
			return err
		}
		query := fmt.Sprintf("select * from ch_%s where a = $1", token)
		width := func(wanted int) error {
			rows, err := one.Query(ctx, query, me)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				values, err := rows.Values()
				if err := first(err, equal(len(values), wanted)); err != nil {
					return err
				}
			}
			return rows.Err()
		}
		if err := first(width(1), width(1)); err != nil {
			return err
		}
		if _, err := one.Exec(ctx, fmt.Sprintf("alter table ch_%s add column b text default '%s'", token, token)); err != nil {
			return err
		}
		// The first use tells pgx, which prepares again the next time.
		if err := fails(width(2), "0A000"); err != nil {
			return err
		}
		return first(width(2), width(2))
	})
	add("pool", func() error {
		pool, err := pgxpool.Connect(ctx, os.Getenv("DATABASE_URL")+"?sslmode=disable&pool_max_conns=4")
		if err != nil {
			return err
		}
		defer pool.Close()
		errs := make([]error, 8)
		var wait sync.WaitGroup
		for g := range errs {
			wait.Add(1)
			go func(g int) {
				defer wait.Done()
				for n := 0; n < 60 && errs[g] == nil; n++ {
					errs[g] = ask(pool, g*1000+n)
				}
			}(g)
		}
		wait.Wait()
		return first(errs...)
	})
	on("runtime_parameters", "&application_name=app+"+token+"&timezone=Etc/GMT%2B"+me+"&statement_timeout=9s&search_path=s"+token, func(one *pgx.Conn) error {
		for n := 0; n < 5; n++ {
			var got string
			err := one.QueryRow(ctx, "select current_setting('application_name') || '/' || current_setting('timezone') || '/' || current_setting('statement_timeout') || '/' || current_setting('search_path')").Scan(&got)
			if err := first(err, equal(got, fmt.Sprintf("app %s/Etc/GMT+%s/9s/s%s", token, me, token))); err != nil {
				return err
			}
		}
		return nil
	})
	on("low_level_exec_params", "", func(one *pgx.Conn) error {
		for n := 0; n < 30; n++ {
			result := one.PgConn().ExecParams(ctx, "select $1::text", [][]byte{[]byte(token)}, nil, nil, nil).Read()
			if err := first(result.Err, equal(string(result.Rows[0][0]), token)); err != nil {
				return err
			}
		}
		return nil
	})
	// Once a result type has changed, pgx fails once and prepares again.
	runAll("4.15.0, Go", open, "result_type_changes")
}
