// Answers every HTTP request with a greeting.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"runtime"
	"syscall"
	"time"

	"github.com/google/uuid"
)

func getenv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func greet(w http.ResponseWriter, _ *http.Request) {
	name := "unknown"
	if who, err := user.Current(); err == nil {
		name = who.Username
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{
		"message": "Hello, " + getenv("NAME", "world") + "!",
		"go":      runtime.Version(),
		"user":    name,
		"request": uuid.NewString(),
	})
}

func main() {
	server := &http.Server{Addr: ":" + getenv("PORT", "8080"), Handler: http.HandlerFunc(greet)}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ended.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(grace)
	}()
	log.Printf("listening on port %s", getenv("PORT", "8080"))
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
