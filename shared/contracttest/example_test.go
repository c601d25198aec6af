package contracttest_test

import (
	"fmt"
	"log"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"peerless/shared/contracttest"
)

// Register is a contract: names, and who holds them.
type Register struct{ contractapi.Contract }

// Claim takes a name that is free.
func (*Register) Claim(ctx contractapi.TransactionContextInterface, name, holder string) error {
	held, err := ctx.GetStub().GetState(name)
	if err != nil {
		return err
	}
	if held != nil {
		return fmt.Errorf("%s is held by %s", name, held)
	}
	if err := ctx.GetStub().SetEvent("claimed", []byte(name)); err != nil {
		return err
	}
	return ctx.GetStub().PutState(name, []byte(holder))
}

// The first lines of a test. Where this example has a t of its own, a test has its *testing.T.
func Example() {
	t := new(exampleT)
	defer t.end()

	l := contracttest.New(t, new(Register))
	l.MustSubmit("Claim", "north", "Anna")
	fmt.Println(l.Submit("Claim", "north", "Ben").Message)
	fmt.Printf("%s: %s\n", l.Events()[0].Name, l.State("north"))
	// Output:
	// north is held by Anna
	// claimed: Anna
}

// Two clients claim a name at the same time: each is told that it is free, and only one gets it.
func ExampleLedger_Endorse() {
	t := new(exampleT)
	defer t.end()

	l := contracttest.New(t, new(Register))
	anna, ben := l.Endorse("Claim", "north", "Anna"), l.Endorse("Claim", "north", "Ben")
	for _, r := range l.Commit(ben, anna) {
		fmt.Println(r.Code)
	}
	fmt.Printf("%s\n", l.State("north"))
	// Output:
	// VALID
	// MVCC_READ_CONFLICT
	// Ben
}

// exampleT stands for a *testing.T.
type exampleT struct{ cleanups []func() }

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Logf(format string, args ...any)   { log.Printf(format, args...) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format, args...) }
func (t *exampleT) Fatalf(format string, args ...any) { log.Panicf(format, args...) }

func (t *exampleT) end() {
	for _, f := range t.cleanups {
		f()
	}
}
