import os
import unittest
from unittest import mock

from app import app


class Greeting(unittest.TestCase):
    def setUp(self):
        self.client = app.test_client()

    def test_greets(self):
        with mock.patch.dict(os.environ, NAME="Ada"):
            self.assertEqual(self.client.get("/").get_json()["message"], "Hello, Ada!")

    def test_knows_nothing_else(self):
        self.assertEqual(self.client.get("/nowhere").status_code, 404)


if __name__ == "__main__":
    unittest.main()
