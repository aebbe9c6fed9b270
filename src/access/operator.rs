//! Who may see, end and open the sessions of all bots.

use std::net::IpAddr;

use super::{Access, Credential};
use crate::bot::Client;
use crate::fault::{Code, Fault};
use crate::listen::PrivateSocket;

/// An operator: proven by the secret, or by having come through a socket that is the operator's alone. No credential of
/// the other listener makes one, so that it is no [`Principal`](super::Principal).
#[derive(Debug)]
pub struct Operator(());

impl Operator {
    /// Whoever comes through `_socket`: its mode has been checked, and the system checks who connects.
    pub fn at(_socket: &PrivateSocket) -> Self {
        Self(())
    }
}

impl Access {
    /// Proves the operators' secret, `known`, in a request from `address`.
    ///
    /// # Errors
    ///
    /// There is none, or another; once an address has sent too many wrong ones, that.
    pub fn identify_operator(
        &self,
        credential: Credential<'_>,
        known: &Client,
        address: IpAddr,
    ) -> Result<Operator, Fault> {
        let failure = match credential {
            Credential::Client(secret) if known.has_secret(secret) => return Ok(Operator(())),
            Credential::None => {
                return Err(Fault::new(Code::CredentialRequired, "send the operators' secret as a Bearer token"));
            }
            Credential::Client(_) | Credential::Token(_) => {
                Fault::new(Code::InvalidClient, "this is not the operators' secret")
            }
        };
        self.count_failure(address)?;
        Err(failure)
    }
}
