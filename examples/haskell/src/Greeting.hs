module Greeting (greeting) where

import Data.Char (ord)
import Data.List (intercalate)
import Numeric (showHex)

-- | A greeting for a name, from a user, as JSON.
greeting :: String -> String -> String
greeting name user =
    "{" ++ intercalate "," [quoted key ++ ":" ++ quoted value | (key, value) <- fields] ++ "}\n"
  where
    fields = [("message", "Hello, " ++ name ++ "!"), ("haskell", "GHC"), ("user", user)]

quoted :: String -> String
quoted text = "\"" ++ concatMap escaped text ++ "\""
  where
    escaped char
        | char < ' ' || char `elem` "\"\\" = "\\u" ++ drop (length hex) "0000" ++ hex
        | otherwise = [char]
      where
        hex = showHex (ord char) ""
