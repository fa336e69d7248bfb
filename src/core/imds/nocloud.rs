//! NoCloud's documents over the network: what a seed volume would hold.
//! <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>

use serde_json::json;

use super::{instance::Instance, request::Document};

/// What cloud-init takes for user-data that says nothing. It wants the document to be there.
pub const NOTHING: &str = "#cloud-config\n{}\n";

/// A network-config that says nothing: each guest asks for its address by itself. cloud-init 24.4 and later ask for the document eleven
/// times where it is not there, a second apart.
const NO_NETWORK: &str = "{}\n";

/// A document of a domain; what says nothing where it has none.
pub fn document(instance: &Instance, asked: Document) -> String {
    let content = &instance.content;
    match asked {
        Document::MetaData => meta_data(instance, true),
        Document::UserData => content.user_data.clone().unwrap_or_else(|| NOTHING.to_owned()),
        Document::VendorData => content.vendor_data.clone().unwrap_or_else(|| NOTHING.to_owned()),
        Document::NetworkConfig => {
            let handed = content.nocloud.as_ref().map(|handed| handed.network_config.as_str());
            handed.filter(|text| !text.is_empty()).unwrap_or(NO_NETWORK).to_owned()
        }
    }
}

/// The same without what was to be handed out once, and has been.
pub fn handed_out(instance: &Instance, asked: Document) -> String {
    match asked {
        Document::MetaData => meta_data(instance, false),
        Document::UserData => NOTHING.to_owned(),
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
    use crate::core::imds::{ec2::tests::instance, instance::Handed};

    #[test]
    fn documents() {
        let mut instance = instance();
        let meta = "{\n  \"instance-id\": \"11111111-2222-4333-8444-555555555555\",\n  \"local-hostname\": \"web01.lab.example\"";
        let keys = ",\n  \"public-keys\": [\n    \"ssh-ed25519 AAAA a\",\n    \"ssh-ed25519 BBBB b\"\n  ]";
        assert_eq!(document(&instance, Document::MetaData), format!("{meta}{keys}\n}}\n"));
        assert_eq!(handed_out(&instance, Document::MetaData), format!("{meta}\n}}\n"));
        assert_eq!(document(&instance, Document::UserData), "#!/bin/sh\n");
        assert_eq!(handed_out(&instance, Document::UserData), NOTHING);
        assert_eq!(document(&instance, Document::VendorData), NOTHING);
        assert_eq!(document(&instance, Document::NetworkConfig), NO_NETWORK);
        instance.content.nocloud = Some(Handed { meta_data: "a: 1\n".into(), network_config: "b: 2\n".into() });
        assert_eq!(document(&instance, Document::MetaData), "a: 1\n");
        assert_eq!(handed_out(&instance, Document::NetworkConfig), "b: 2\n");
    }
}
