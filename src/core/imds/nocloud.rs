//! NoCloud's documents over the network: what a seed volume would hold.
//! <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>

use serde_json::json;

use super::{instance::Instance, request::Document};

/// What cloud-init takes for user-data that says nothing. It wants the document to be there.
pub const NOTHING: &str = "#cloud-config\n{}\n";

/// A document of a domain. Of one that has none, what says nothing; network-config is there only where a clone's maker wrote it: without
/// it each guest asks for its address by itself.
pub fn document(instance: &Instance, asked: Document) -> Option<String> {
    let content = &instance.content;
    match asked {
        Document::MetaData => Some(meta_data(instance, true)),
        Document::UserData => Some(content.user_data.clone().unwrap_or_else(|| NOTHING.to_owned())),
        Document::VendorData => Some(content.vendor_data.clone().unwrap_or_else(|| NOTHING.to_owned())),
        Document::NetworkConfig => {
            content.nocloud.as_ref().map(|handed| handed.network_config.clone()).filter(|text| !text.is_empty())
        }
    }
}

/// The same without what was to be handed out once, and has been.
pub fn handed_out(instance: &Instance, asked: Document) -> Option<String> {
    match asked {
        Document::MetaData => Some(meta_data(instance, false)),
        Document::UserData => Some(NOTHING.to_owned()),
        other => document(instance, other),
    }
}

/// JSON, which is YAML.
fn meta_data(instance: &Instance, keys: bool) -> String {
    if let Some(handed) = &instance.content.nocloud {
        return handed.meta_data.clone();
    }
    let mut document = json!({ "instance-id": instance.uuid, "local-hostname": instance.fqdn() });
    if keys && !instance.content.keys.is_empty() {
        document["public-keys"] = json!(instance.content.keys);
    }
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::imds::ec2::tests::instance;

    #[test]
    fn documents() {
        let mut instance = instance();
        let meta = "{\n  \"instance-id\": \"11111111-2222-4333-8444-555555555555\",\n  \"local-hostname\": \"web01.lab.example\"";
        let keys = ",\n  \"public-keys\": [\n    \"ssh-ed25519 AAAA a\",\n    \"ssh-ed25519 BBBB b\"\n  ]";
        assert_eq!(document(&instance, Document::MetaData), Some(format!("{meta}{keys}\n}}\n")));
        assert_eq!(handed_out(&instance, Document::MetaData), Some(format!("{meta}\n}}\n")));
        assert_eq!(document(&instance, Document::UserData).as_deref(), Some("#!/bin/sh\n"));
        assert_eq!(handed_out(&instance, Document::UserData).as_deref(), Some(NOTHING));
        assert_eq!(document(&instance, Document::VendorData).as_deref(), Some(NOTHING));
        assert_eq!(document(&instance, Document::NetworkConfig), None);
        instance.content.nocloud =
            Some(super::super::instance::Handed { meta_data: "a: 1\n".into(), network_config: "b: 2\n".into() });
        assert_eq!(document(&instance, Document::MetaData).as_deref(), Some("a: 1\n"));
        assert_eq!(handed_out(&instance, Document::NetworkConfig).as_deref(), Some("b: 2\n"));
    }
}
