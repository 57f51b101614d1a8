module Main (main) where

import Control.Monad (unless)
import Data.List (isInfixOf)
import System.Exit (die)

import Greeting (greeting)

main :: IO ()
main = do
    let found = greeting "Ada \"Countess\"" "me"
    unless ("\"Hello, Ada \\u0022Countess\\u0022!\"" `isInfixOf` found) $ die ("expected a greeting, found " ++ found)
