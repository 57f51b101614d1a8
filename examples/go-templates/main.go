// Answers with a page made of a template beside the program, and serves the files in the folder static.
package main

import (
	"context"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func getenv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func handler(pages *template.Template) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("static"))))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if err := pages.ExecuteTemplate(w, "index.html", getenv("NAME", "world")); err != nil {
			log.Print(err)
		}
	})
	return mux
}

func main() {
	pages := template.Must(template.ParseGlob("templates/*.html"))
	server := &http.Server{Addr: ":" + getenv("PORT", "8080"), Handler: handler(pages)}
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
