package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"scaleout/httpapi/client"
)

// A program that creates and starts an execution: with several masters, and with a key of its own for the call that
// must not happen twice, however often the program is run for this day.
func Example() {
	certificate, err := tls.LoadX509KeyPair("user/cert.pem", "user/key.pem")
	if err != nil {
		log.Fatal(err)
	}
	authority, err := os.ReadFile("user/ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	c, err := client.New(client.Config{
		Masters: []string{"https://master-1:8391", "https://master-2:8391", "https://master-3:8391"},
		TLS:     &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: pool},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	created, err := c.Call(ctx, "create_execution", map[string]any{
		"folder_name": "ETL", "project_name": "SampleETL", "package_name": "daily.sh",
	}, client.WithKey("daily-2026-01-31"))
	if err != nil {
		log.Fatal(err)
	}
	id, _ := created.Int("execution_id")
	if _, err := c.Call(ctx, "start_execution", map[string]any{"execution_id": id}); err != nil {
		log.Fatal(err)
	}
	for row, err := range c.Rows(ctx, "executions", client.Query{Equal: map[string]any{"execution_id": id}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row["package_name"], row["status"])
	}
}

// A refusal has a code that does not change; what is not a refusal may have happened.
func ExampleCode() {
	master := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintln(w, `{"status": 409, "code": "folder_exists", "detail": "the folder \"ETL\" exists (folder_id 1)"}`)
	}))
	defer master.Close()
	c, err := client.New(client.Config{Masters: []string{master.URL}, HTTPClient: master.Client()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Call(context.Background(), "create_folder", map[string]any{"folder_name": "ETL"})
	switch client.Code(err) {
	case "":
		fmt.Println("created, or unknown:", err)
	case "folder_exists":
		var refused *client.Error
		errors.As(err, &refused)
		fmt.Println("it was there:", strings.TrimSpace(refused.Detail))
	}
	// Output: it was there: the folder "ETL" exists (folder_id 1)
}
