(ns hello.core
  (:require [clojure.data.json :as json])
  (:import (com.sun.net.httpserver HttpExchange HttpHandler HttpServer)
           (java.net InetSocketAddress)
           (java.util.concurrent Executors))
  (:gen-class))

(set! *warn-on-reflection* true)

(defn variable [^String name otherwise]
  (or (System/getenv name) otherwise))

(defn greeting []
  {:message (str "Hello, " (variable "NAME" "world") "!")
   :user    (System/getProperty "user.name")
   :clojure (clojure-version)})

(defn- answer [^HttpExchange exchange]
  (let [body (.getBytes ^String (json/write-str (greeting)) "UTF-8")]
    (.set (.getResponseHeaders exchange) "Content-Type" "application/json")
    (.sendResponseHeaders exchange 200 (alength body))
    (with-open [out (.getResponseBody exchange)]
      (.write out body))))

(defn -main [& _]
  (let [port   (parse-long (variable "PORT" "8080"))
        server (HttpServer/create (InetSocketAddress. (int port)) 0)]
    (.createContext server "/" (reify HttpHandler (handle [_ exchange] (answer exchange))))
    (.setExecutor server (Executors/newCachedThreadPool))
    (.addShutdownHook (Runtime/getRuntime) (Thread. ^Runnable #(.stop server 1)))
    (.start server)
    (println "listening on port" port)))
