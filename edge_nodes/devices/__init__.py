"""Devices: inference, downloads, and swaps of their models."""
