"""Tests of `buddyproxy.cache`: tables written from the RFCs."""
