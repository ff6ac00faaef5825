//! Tokens, keys and kubeconfigs: made anew for each control plane, worth nothing afterwards.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::TestbedError;

/// A user that the API server knows by a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub token: String,
}

impl User {
    /// A user with a fresh token.
    pub fn new(name: &'static str) -> Result<User, TestbedError> {
        Ok(User { name, token: random_hex()? })
    }

    /// Its line in the API server's file of tokens. Everyone is a master; tests of rights use service accounts.
    pub fn line(&self) -> String {
        format!("{},{},{},\"system:masters\"\n", self.token, self.name, self.name)
    }

    /// Its kubeconfig. JSON is YAML, too.
    pub fn kubeconfig(&self, server: &str, certificate: &[u8]) -> String {
        let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(certificate)});
        config(cluster, self.name, &self.token).to_string()
    }
}

fn config(cluster: Value, user: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "testenv",
        "clusters": [{"name": "testenv", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "testenv", "context": {"cluster": "testenv", "user": user}}],
    })
}

/// The keys that sign the tokens of service accounts and check them, as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningKeys {
    /// Signs.
    pub private: String,
    /// Checks.
    pub public: String,
}

/// What stands before a point of P-256 in a public key: its length, and the names of algorithm and curve.
const SUBJECT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl SigningKeys {
    /// Fresh keys.
    pub fn new() -> Result<SigningKeys, TestbedError> {
        let chance = SystemRandom::new();
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &chance).map_err(no_chance)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &chance)
            .expect("a key that was just made is well-formed");
        let public = [&SUBJECT, pair.public_key().as_ref()].concat();
        Ok(SigningKeys { private: pem("PRIVATE KEY", key.as_ref()), public: pem("PUBLIC KEY", &public) })
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (place, letter) in STANDARD.encode(bytes).chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + &format!("\n-----END {label}-----\n")
}

fn no_chance(_: ring::error::Unspecified) -> TestbedError {
    TestbedError::Start("the system's source of chance fails".into())
}

/// Thirty-two hexadecimal digits that nobody can guess.
pub fn random_hex() -> Result<String, TestbedError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(no_chance)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_pem_with_lines_of_64() {
        let keys = SigningKeys::new().unwrap();
        assert!(keys.private.lines().all(|line| line.len() <= 64), "{}", keys.private);
        // 26 bytes of names and a point of 65.
        assert_eq!(keys.public.lines().nth(2).map(str::len), Some(60), "{}", keys.public);
        assert_ne!(keys, SigningKeys::new().unwrap());
    }

    #[test]
    fn a_kubeconfig_is_read_by_the_client() {
        let user = User::new("admin").unwrap();
        let text = user.kubeconfig("https://127.0.0.1:1", b"pem");
        let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("testenv"));
        assert_eq!(user.line().split(',').next(), Some(&*user.token));
    }
}
