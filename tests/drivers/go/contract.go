// The contract of tests/drivers for programs in Go; see ../README.md. Built together with the driver's own file.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
)

var me = os.Getenv("CLIENT")
var token = "c" + me

type scenario struct {
	name string
	run  func() error
}

var scenarios []scenario

func add(name string, run func() error) { scenarios = append(scenarios, scenario{name, run}) }

// session is one connection that plays session.txt.
type session interface {
	do(sql string) error
	rows(sql string) ([]string, error) // the first column of all rows
	close()
}

func equal(got, wanted interface{}) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("%v, not %v", got, wanted)
	}
	return nil
}

func fails(err error, state string) error {
	if found := sqlstate(err); err == nil || found != state {
		return fmt.Errorf("%v (%s), not %s", err, found, state)
	}
	return nil
}

func sqlstate(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}

// first is the first error of some.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func say(name string, run func() error) {
	err := func() (err error) {
		defer func() {
			if caught := recover(); caught != nil {
				err = fmt.Errorf("panic: %v", caught)
			}
		}()
		return run()
	}()
	if err != nil {
		fmt.Println("FAIL", name, strings.Join(strings.Fields(err.Error()), " "))
	} else {
		fmt.Println("ok", name)
	}
}

func play(steps []string, open func() (session, error)) error {
	sessions := map[bool]session{}
	defer func() {
		for _, each := range sessions {
			each.close()
		}
	}()
	for number, line := range steps {
		other := strings.HasPrefix(line, "other ")
		line = strings.TrimPrefix(line, "other ")
		if sessions[other] == nil {
			made, err := open()
			if err != nil {
				return err
			}
			sessions[other] = made
		}
		if err := step(sessions[other], line); err != nil {
			return fmt.Errorf("step %d (%s): %w", number+1, line, err)
		}
	}
	return nil
}

func step(on session, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	if verb == "do" {
		return on.do(rest)
	}
	value, sql, _ := strings.Cut(rest, " :: ")
	value = strings.TrimSpace(value)
	switch verb {
	case "fails":
		return fails(on.do(sql), value)
	case "is", "same":
		for n := 0; n < map[string]int{"is": 1, "same": 5}[verb]; n++ {
			found, err := on.rows(sql)
			if err != nil {
				return err
			}
			if len(found) == 0 || found[0] != value {
				return fmt.Errorf("%v, not %s", found, value)
			}
		}
		return nil
	}
	return fmt.Errorf("no verb %s", verb)
}

func runAll(version string, open func() (session, error), without ...string) {
	_, file, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(file)), "session.txt"))
	if err != nil {
		panic(err)
	}
	connected, err := open()
	if err != nil {
		panic(err)
	}
	connected.close()
	fmt.Println("version", version)
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	words := strings.NewReplacer("{c}", me, "{t}", token, "{d}", os.Getenv("PGDATABASE"))
	var name string
	var steps []string
	flush := func() {
		if name != "" && !strings.Contains(" "+strings.Join(without, " ")+" ", " "+name+" ") {
			mine := steps
			say(name, func() error { return play(mine, open) })
		}
		steps = nil
	}
	for _, line := range strings.Split(words.Replace(string(text)), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "scenario ") {
			flush()
			name = strings.TrimPrefix(line, "scenario ")
			continue
		}
		steps = append(steps, line)
	}
	flush()
	for _, each := range scenarios {
		say(each.name, each.run)
	}
	fmt.Println("done")
}
