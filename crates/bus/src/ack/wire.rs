//! OpenWhisk's three acknowledgement messages. None says which it is: a reader
//! tells them apart by their members.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use whisker_entity::{Activation, ActivationId};

use super::Acknowledgement;
use crate::{ControllerId, InvokerInstance, transid::Transid};

/// An acknowledgement as it travels. Whose it is is the topic's to say.
#[derive(Debug, Clone)]
pub struct AckMessage {
    transid: Transid,
    about: About,
}

#[derive(Debug, Clone)]
enum About {
    Result(AckResponse),
    Completion { activation: ActivationId, system_error: Option<bool>, instance: InvokerInstance },
    Combined { response: AckResponse, system_error: Option<bool>, instance: InvokerInstance },
}

/// What an acknowledgement says of the outcome.
#[derive(Debug, Clone)]
pub enum AckResponse {
    /// The record, without logs.
    Whole(Arc<Activation>),
    /// Where to look it up.
    Id(ActivationId),
}

impl AckResponse {
    fn id(&self) -> ActivationId {
        match self {
            Self::Whole(activation) => activation.id,
            Self::Id(id) => *id,
        }
    }
}

impl AckMessage {
    /// What to send. `from` is who sends it, in full.
    pub fn of(acknowledgement: &Acknowledgement, from: &InvokerInstance) -> Self {
        let (transaction, began, about) = match acknowledgement {
            Acknowledgement::Result { transaction, began, activation, .. } => {
                (transaction, began, About::Result(AckResponse::Whole(Arc::clone(activation))))
            }
            Acknowledgement::Recorded { transaction, began, activation, .. } => {
                (transaction, began, About::Result(AckResponse::Id(*activation)))
            }
            Acknowledgement::Completion { transaction, began, activation, system_error, invoker, .. } => {
                let instance = InvokerInstance { id: *invoker, ..from.clone() };
                let about = About::Completion { activation: *activation, system_error: Some(*system_error), instance };
                (transaction, began, about)
            }
        };
        Self { transid: Transid { id: transaction.clone(), began: *began }, about }
    }

    /// The same with an id in place of a record, as OpenWhisk sends what is
    /// too large.
    #[must_use]
    pub fn shrunk(mut self) -> Self {
        match &mut self.about {
            About::Result(response) | About::Combined { response, .. } => *response = AckResponse::Id(response.id()),
            About::Completion { .. } => {}
        }
        self
    }

    /// What it tells the controller whose topic it came by: the outcome, the
    /// free place, or both.
    pub fn read_by(self, controller: &ControllerId) -> (Option<Acknowledgement>, Option<Acknowledgement>) {
        let Transid { id: transaction, began } = self.transid;
        let controller = || controller.clone();
        let result = |response| match response {
            AckResponse::Whole(activation) => Acknowledgement::Result {
                controller: controller(),
                transaction: transaction.clone(),
                began,
                activation,
            },
            AckResponse::Id(activation) => Acknowledgement::Recorded {
                controller: controller(),
                transaction: transaction.clone(),
                began,
                activation,
            },
        };
        let completion =
            |activation, system_error: Option<bool>, instance: InvokerInstance| Acknowledgement::Completion {
                controller: controller(),
                transaction: transaction.clone(),
                began,
                activation,
                system_error: system_error.unwrap_or(false),
                invoker: instance.id,
            };
        match self.about {
            About::Result(response) => (Some(result(response)), None),
            About::Completion { activation, system_error, instance } => {
                (None, Some(completion(activation, system_error, instance)))
            }
            About::Combined { response, system_error, instance } => {
                let id = response.id();
                (Some(result(response)), Some(completion(id, system_error, instance)))
            }
        }
    }
}

impl Serialize for AckResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(activation) => activation.serialize(serializer),
            Self::Id(id) => id.serialize(serializer),
        }
    }
}

/// All members that any of the three has, in OpenWhisk's order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<R> {
    transid: Transid,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    response: Option<R>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activation_id: Option<ActivationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_system_error: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<InvokerInstance>,
}

impl Serialize for AckMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut wire = Wire {
            transid: self.transid.clone(),
            response: None,
            activation_id: None,
            is_system_error: None,
            instance: None,
        };
        match &self.about {
            About::Result(response) => wire.response = Some(response),
            About::Completion { activation, system_error, instance } => {
                wire.activation_id = Some(*activation);
                wire.is_system_error = *system_error;
                wire.instance = Some(instance.clone());
            }
            About::Combined { response, system_error, instance } => {
                wire.response = Some(response);
                wire.is_system_error = *system_error;
                wire.instance = Some(instance.clone());
            }
        }
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AckMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::<Box<RawValue>>::deserialize(deserializer)?;
        let response = match &wire.response {
            None => None,
            Some(text) if text.get().starts_with('"') => {
                Some(AckResponse::Id(serde_json::from_str(text.get()).map_err(de::Error::custom)?))
            }
            Some(text) => {
                Some(AckResponse::Whole(Arc::new(serde_json::from_str(text.get()).map_err(de::Error::custom)?)))
            }
        };
        let system_error = wire.is_system_error;
        let about = match (response, wire.instance, wire.activation_id) {
            (Some(response), Some(instance), _) => About::Combined { response, system_error, instance },
            (None, Some(instance), Some(activation)) => About::Completion { activation, system_error, instance },
            (Some(response), None, _) => About::Result(response),
            (None, Some(_), None) => return Err(de::Error::missing_field("activationId")),
            (None, None, _) => return Err(de::Error::missing_field("response")),
        };
        Ok(Self { transid: wire.transid, about })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::InvokerId;

    const TRANSID: &str = r#""transid":["abc",1700000000000]"#;
    const RECORD: &str = concat!(
        r#"{"namespace":"guest","name":"hello","subject":"guest","activationId":"44794bd6aab74415b4e42a308d880e5b","#,
        r#""start":10,"end":12,"response":{"statusCode":3,"result":{"n":1e400},"size":11},"logs":[],"version":"0.0.1","#,
        r#""publish":false,"annotations":[],"duration":2}"#
    );
    const INSTANCE: &str = concat!(
        r#""isSystemError":true,"instance":{"instance":0,"userMemory":"1024 MB","busyMemory":"256 MB","#,
        r#""instanceType":"invoker","tags":[],"dedicatedNamespaces":[],"uniqueName":"a","displayedName":"b"}"#
    );

    fn read(text: &str) -> AckMessage {
        let message: AckMessage = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
        message
    }

    fn told(message: AckMessage) -> (Option<Acknowledgement>, Option<Acknowledgement>) {
        message.read_by(&ControllerId("0".into()))
    }

    fn id() -> ActivationId {
        "44794bd6aab74415b4e42a308d880e5b".parse().unwrap()
    }

    #[test]
    fn a_result_has_openwhisks_shape_and_reads_back() {
        let message = read(&format!(r#"{{{TRANSID},"response":{RECORD}}}"#));
        let (Some(Acknowledgement::Result { activation, began, .. }), None) = told(message.clone()) else {
            panic!("{message:?}");
        };
        assert_eq!((activation.id, began), (id(), 1_700_000_000_000));
        assert_eq!(
            serde_json::to_string(&message.shrunk()).unwrap(),
            format!(r#"{{{TRANSID},"response":"{}"}}"#, id()),
        );
    }

    #[test]
    fn a_result_that_is_only_an_id_says_where_to_look() {
        let message = read(&format!(r#"{{{TRANSID},"response":"44794bd6aab74415b4e42a308d880e5b"}}"#));
        let told = told(message);
        assert!(matches!(told, (Some(Acknowledgement::Recorded { activation, .. }), None) if activation == id()));
    }

    #[test]
    fn a_completion_has_openwhisks_shape_and_reads_back() {
        let message = read(&format!(r#"{{{TRANSID},"activationId":"{}",{INSTANCE}}}"#, id()));
        let told = told(message);
        assert!(matches!(
            told,
            (None, Some(Acknowledgement::Completion { activation, system_error: true, invoker: InvokerId(0), .. }))
                if activation == id()
        ));
    }

    #[test]
    fn a_combined_message_says_both() {
        let message = read(&format!(r#"{{{TRANSID},"response":{RECORD},{INSTANCE}}}"#));
        let (Some(first), Some(second)) = told(message.clone()) else { panic!("{message:?}") };
        assert!(matches!(first, Acknowledgement::Result { .. }));
        assert!(matches!(second, Acknowledgement::Completion { system_error: true, .. }));
        let (Some(first), Some(second)) = told(message.shrunk()) else { panic!() };
        assert_eq!((first.activation(), second.activation()), (id(), id()));
    }

    #[test]
    fn what_we_say_is_read_as_it_was_meant() {
        let instance = InvokerInstance::new(InvokerId(4), "1 GB".parse().unwrap());
        let completion = Acknowledgement::Completion {
            controller: ControllerId("0".into()),
            transaction: whisker_entity::TransactionId::restore("abc"),
            began: 1_700_000_000_000,
            activation: id(),
            system_error: false,
            invoker: InvokerId(4),
        };
        let text = serde_json::to_string(&AckMessage::of(&completion, &instance)).unwrap();
        assert_eq!(
            text,
            format!(
                concat!(
                    r#"{{{},"activationId":"{}","isSystemError":false,"instance":{{"instance":4,"userMemory":"1 GB","#,
                    r#""instanceType":"invoker","tags":[],"dedicatedNamespaces":[]}}}}"#
                ),
                TRANSID,
                id()
            )
        );
        assert!(matches!(told(read(&text)), (None, Some(Acknowledgement::Completion { system_error: false, .. }))));
    }

    #[test]
    fn what_is_none_of_the_three_is_refused() {
        for text in [
            format!("{{{TRANSID}}}"),
            format!("{{{TRANSID},{INSTANCE}}}"),
            format!(r#"{{{TRANSID},"response":7}}"#),
            r#"{"response":"44794bd6aab74415b4e42a308d880e5b"}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert!(serde_json::from_str::<AckMessage>(&text).is_err(), "{text}");
        }
    }
}
