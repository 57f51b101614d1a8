-- | Answers every HTTP request with a greeting.
module Main (main) where

import Control.Concurrent (forkFinally, forkIO, myThreadId, throwTo)
import Control.Exception (bracket)
import Control.Monad (forM_, forever, void)
import qualified Data.ByteString as Bytes
import qualified Data.ByteString.Builder as Builder
import qualified Data.ByteString.Char8 as Chars
import qualified Data.ByteString.Lazy as Lazy
import Network.Socket
import Network.Socket.ByteString (recv, sendAll)
import System.Environment (lookupEnv)
import System.Exit (ExitCode (ExitSuccess))
import System.IO (hPutStrLn, stderr)
import System.Posix.Signals (Handler (Catch), installHandler, sigINT, sigTERM)
import System.Posix.User (getRealUserID, getUserEntryForID, userName)

import Greeting (greeting)

variable :: String -> String -> IO String
variable name otherwise' = maybe otherwise' id <$> lookupEnv name

answer :: Socket -> IO ()
answer client = untilBlankLine Bytes.empty
  where
    untilBlankLine seen
        | Chars.pack "\r\n\r\n" `Bytes.isInfixOf` seen = reply
        | otherwise = do
            more <- recv client 4096
            if Bytes.null more then pure () else untilBlankLine (seen <> more)
    reply = do
        user <- userName <$> (getUserEntryForID =<< getRealUserID)
        name <- variable "NAME" "world"
        let body = Lazy.toStrict (Builder.toLazyByteString (Builder.stringUtf8 (greeting name user)))
            start = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
        sendAll client (Chars.pack (start ++ show (Bytes.length body) ++ "\r\n\r\n") <> body)

main :: IO ()
main = do
    self <- myThreadId
    forM_ [sigINT, sigTERM] $ \signal ->
        installHandler signal (Catch (void (forkIO (throwTo self ExitSuccess)))) Nothing
    port <- read <$> variable "PORT" "8080"
    bracket (socket AF_INET Stream defaultProtocol) close $ \server -> do
        setSocketOption server ReuseAddr 1
        bind server (SockAddrInet port 0)
        listen server 128
        hPutStrLn stderr ("listening on port " ++ show port)
        forever $ do
            (client, _) <- accept server
            forkFinally (answer client) (const (gracefulClose client 1000))
