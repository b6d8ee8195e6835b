//! Known answers, and what is not to be known.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;

/// The bytes 0, 1, 2 and so on.
const AES_128: &str = "AAECAwQFBgcICQoLDA0ODw==";
const AES_256: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What the Java platform makes of values, with the cipher and the layout that
/// OpenWhisk asks it for, the keys above, and nonces of the bytes 255, 254 and
/// so on.
const KNOWN: [(&str, &str, &str); 4] = [
    ("aes-128", r#""s3cret""#, "AAAADP/+/fz7+vn49/b19I1j7+6Cbamljf1lXY/rlr5sGGi2O0TGsQ=="),
    ("aes-128", r#"{"a":[1,null,"ü"]}"#, "AAAADP/+/fz7+vn49/b19NQyva/KU+yrmAnttHNzLnlZWtie1eGt6sfxeIXvng1iqhk5"),
    (
        "aes-256",
        r#""s3cret""#,
        "AAAAgP/+/fz7+vn49/b19PPy8fDv7u3s6+rp6Ofm5eTj4uHg397d3Nva2djX1tXU09LR0M/OzczLysnIx8bFxMPCwcC/vr28u7q5\
             uLe2tbSzsrGwr66trKuqqainpqWko6KhoJ+enZybmpmYl5aVlJOSkZCPjo2Mi4qJiIeGhYSDgoGAbC+0FbKNffhoJUdS3bViUW22\
             gSp2dKU5",
    ),
    (
        "aes-256",
        r#"{"a":[1,null,"ü"]}"#,
        "AAAAgP/+/fz7+vn49/b19PPy8fDv7u3s6+rp6Ofm5eTj4uHg397d3Nva2djX1tXU09LR0M/OzczLysnIx8bFxMPCwcC/vr28u7q5\
             uLe2tbSzsrGwr66trKuqqainpqWko6KhoJ+enZybmpmYl5aVlJOSkZCPjo2Mi4qJiIeGhYSDgoGANX7mVPqzOPZT/FdB3dxUR3v2\
             KnWQfj1h5J1j+iEzekhJiEE=",
    ),
];

fn key(name: &str) -> Key {
    let algorithm: Algorithm = name.parse().unwrap();
    Key::parse(algorithm, if algorithm == Algorithm::Aes128 { AES_128 } else { AES_256 }).unwrap()
}

fn all() -> Secrets {
    Secrets::new([key("aes-128"), key("aes-256")])
}

fn text(value: &str) -> Box<RawValue> {
    RawValue::from_string(json!(value).to_string()).unwrap()
}

#[test]
fn what_openwhisk_encrypted_is_read() {
    for (algorithm, value, encrypted) in KNOWN {
        let unlocked = all().unlock(algorithm, &text(encrypted)).unwrap().unwrap();
        assert_eq!(unlocked.get(), value);
        let unpadded = encrypted.trim_end_matches('=');
        assert_eq!(all().unlock(algorithm, &text(unpadded)).unwrap().unwrap().get(), value);
    }
}

#[test]
fn what_is_locked_has_openwhisks_form_and_is_unlocked_with_the_same_key() {
    let given = json!([
        {"key": "a", "value": "s3cret"}, {"key": "b", "value": {"x": [1, null]}, "init": true}, {"key": "c", "value": null},
    ]);
    let parameters: Parameters = serde_json::from_value(given).unwrap();
    for (algorithm, nonce_bytes) in [(Algorithm::Aes128, 12), (Algorithm::Aes256, 128)] {
        let secrets = all().encrypting_with(algorithm).unwrap();
        let locked = secrets.lock(parameters.clone()).unwrap();
        for (clear, locked) in parameters.iter().zip(locked.iter()) {
            assert_eq!((&locked.key, locked.init), (&clear.key, clear.init));
            assert_eq!(locked.encryption.as_deref(), Some(algorithm.name()));
            let encrypted = locked.value.as_str().unwrap();
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encrypted).unwrap();
            assert_eq!(bytes[..4], u32::try_from(nonce_bytes).unwrap().to_be_bytes());
            assert_eq!(bytes.len(), 4 + nonce_bytes + clear.value.to_string().len() + 16);
            let unlocked = secrets.unlock(algorithm.name(), &text(encrypted)).unwrap().unwrap();
            assert_eq!(unlocked.get(), clear.value.to_string());
        }
        assert_eq!(secrets.lock(locked.clone()).unwrap(), locked, "once is enough");
        assert_ne!(secrets.lock(parameters.clone()).unwrap(), locked, "each nonce is used once");
    }
}

#[test]
fn without_an_algorithm_nothing_is_locked_and_the_keys_still_unlock() {
    let mut parameters = Parameters::default();
    parameters.set_value("a", "s3cret");
    assert_eq!(all().lock(parameters.clone()).unwrap(), parameters);
    assert_eq!(Secrets::default().encrypting_with(Algorithm::Aes128).unwrap_err(), Error::NoKey(Algorithm::Aes128));
}

#[test]
fn what_was_never_locked_is_left_alone() {
    assert_eq!(all().unlock("rot13", &text("x")).unwrap().map(|v| v.to_string()), None);
    let number = RawValue::from_string("5".into()).unwrap();
    assert_eq!(all().unlock("aes-128", &number).unwrap().map(|v| v.to_string()), None);
}

#[test]
fn what_does_not_fit_is_told_from_what_has_no_key() {
    let (_, _, encrypted) = KNOWN[0];
    let other = Key::parse(Algorithm::Aes128, "AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
    let unlock = |secrets: &Secrets, algorithm: &str, value: &str| secrets.unlock(algorithm, &text(value)).unwrap_err();
    assert_eq!(unlock(&Secrets::default(), "aes-128", encrypted), Error::NoKey(Algorithm::Aes128));
    assert_eq!(unlock(&Secrets::new([other]), "aes-128", encrypted), Error::Unfit(Algorithm::Aes128));
    assert_eq!(unlock(&all(), "aes-256", encrypted), Error::Unfit(Algorithm::Aes256));
    let changed = encrypted.replacen("bamlj", "bamlk", 1);
    for bad in ["", "AAA", "AAAADA==", "/////w==", "not base64", &encrypted[..24], &changed] {
        assert_eq!(unlock(&all(), "aes-128", bad), Error::Unfit(Algorithm::Aes128), "{bad}");
    }
}

#[test]
fn keys_are_checked_and_never_shown() {
    for bad in ["", "AAECAwQFBgcICQoLDA0O", AES_256, "not base64"] {
        assert!(Key::parse(Algorithm::Aes128, bad).is_err(), "{bad}");
    }
    let told = Key::parse(Algorithm::Aes256, AES_128).unwrap_err().to_string();
    assert_eq!(told, "not the base64 of a key of 32 bytes");
    assert_eq!(format!("{:?}", key("aes-128")), "a key for aes-128");
}

#[test]
fn older_keys_decrypt_and_what_they_locked_gets_the_newest() {
    const NEWER: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let parameters: Parameters = serde_json::from_value(json!([{"key": "a", "value": "s3cret"}])).unwrap();
    let old = Secrets::new([key("aes-256")]).encrypting_with(Algorithm::Aes256).unwrap();
    let newer = || Key::parse(Algorithm::Aes256, NEWER).unwrap();
    let rotated = Secrets::new([newer(), key("aes-256")]).encrypting_with(Algorithm::Aes256).unwrap();
    let new = Secrets::new([newer()]).encrypting_with(Algorithm::Aes256).unwrap();
    let value = |parameters: &Parameters| text(parameters.iter().next().unwrap().value.as_str().unwrap());
    let reads = |secrets: &Secrets, parameters: &Parameters| {
        secrets.unlock("aes-256", &value(parameters)).map(|value| value.unwrap().get().to_owned())
    };

    let locked = old.lock(parameters.clone()).unwrap();
    assert_eq!(reads(&rotated, &locked).unwrap(), r#""s3cret""#);
    assert_eq!(reads(&new, &locked), Err(Error::Unfit(Algorithm::Aes256)));
    assert_eq!(new.lock(locked.clone()).unwrap(), locked, "what fits no key stays");
    let again = rotated.lock(locked.clone()).unwrap();
    assert_eq!(reads(&new, &again).unwrap(), r#""s3cret""#, "the old key can go");
    assert_eq!(rotated.lock(again.clone()).unwrap(), again, "once is enough");

    // From one algorithm to the other in the same way.
    let other = Secrets::new([key("aes-128"), key("aes-256")]).encrypting_with(Algorithm::Aes128).unwrap();
    let moved = other.lock(locked).unwrap();
    assert_eq!(moved.iter().next().unwrap().encryption.as_deref(), Some("aes-128"));
    assert_eq!(other.unlock("aes-128", &value(&moved)).unwrap().unwrap().get(), r#""s3cret""#);
}
