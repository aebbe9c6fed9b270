//! The integration tests: the real gateway in front of strict simulated vendors.
