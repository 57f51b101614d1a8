(ns hello.core-test
  (:require [clojure.test :refer [deftest is]]
            [hello.core :as core]))

(deftest greets
  (is (= "Hello, world!" (:message (core/greeting)))))
