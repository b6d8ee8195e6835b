//! New keys.

use whisker_entity::AuthKey;

/// The kernel gave none.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the kernel gives no random numbers")]
pub struct NoRandomNumbers;

/// A key that nobody can guess: a random uuid, and 64 letters and digits.
pub fn fresh_key() -> Result<AuthKey, NoRandomNumbers> {
    let mut uuid = [0u8; 16];
    getrandom::fill(&mut uuid).map_err(|_| NoRandomNumbers)?;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let hex: String = uuid.iter().map(|b| format!("{b:02x}")).collect();
    let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    let mut key = String::with_capacity(AuthKey::KEY_CHARS);
    let mut bytes = [0u8; 2 * AuthKey::KEY_CHARS];
    while key.len() < AuthKey::KEY_CHARS {
        getrandom::fill(&mut bytes).map_err(|_| NoRandomNumbers)?;
        // Bytes beyond the last whole multiple would favour some letters.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| LETTERS[usize::from(byte % 62)] as char);
        key.extend(fair.take(AuthKey::KEY_CHARS - key.len()));
    }
    AuthKey::parse(&format!("{uuid}:{key}")).map_err(|_| NoRandomNumbers)
}

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fresh_keys_have_the_form_of_openwhisks_and_differ() {
        let keys: HashSet<String> = (0..50).map(|_| fresh_key().expect("a key").expose()).collect();
        assert_eq!(keys.len(), 50);
        for key in keys {
            let (uuid, secret) = key.split_once(':').expect("two parts");
            assert!(crate::users::is_uuid(uuid) && uuid.as_bytes()[14] == b'4', "{uuid}");
            assert!(secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
}
