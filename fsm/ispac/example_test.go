package ispac_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"scaleout/fsm/ispac"
)

// A folder of scripts becomes a project file, and the file tells what a catalog needs to know about it.
func Example() {
	definition, err := ispac.ParseDefinition([]byte(`
name: SampleETL
version: 1.2.0
parameters:
  - {name: OutputFolder, type: String, required: true}
packages:
  - name: daily.sh
    parameters:
      - {name: Rows, type: Int32, default: 1000}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	newGUID := func() string { return "0F8FAD5B-D9CB-469F-A165-70867728950E" }
	project, err := definition.Project(newGUID, []string{"daily.sh"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	err = ispac.Write(&file, project, func(part string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("echo " + part + "\n")), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	read, err := ispac.Read(bytes.NewReader(file.Bytes()), int64(file.Len()), ispac.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(read.Name, read.VersionMajor, read.VersionMinor)
	for _, p := range read.Packages {
		for _, parameter := range p.Parameters {
			fmt.Println(p.Name, parameter.Name, parameter.Type, parameter.Value)
		}
	}
	// Output:
	// SampleETL 1 2
	// daily.sh Rows Int32 1000
}

// A package finds each parameter in an environment variable.
func ExampleEnvName() {
	fmt.Println(ispac.EnvName("CM.Orders Database.ConnectionString"))
	// Output: CM_ORDERS_DATABASE_CONNECTIONSTRING
}
