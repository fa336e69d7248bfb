//! Identities of management agents: with a shared one, all clones are one node to the server.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "agents",
    summary: "removes identities of management agents: Puppet, Salt, Chef, CFEngine, Consul, Docker, Pegasus",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 14] = [
    "/etc/puppetlabs/puppet/ssl/*",
    "/opt/puppetlabs/puppet/cache/state/*",
    "/var/lib/puppet/*/*",
    // OpenPegasus.
    "/etc/Pegasus/*.crt",
    "/etc/Pegasus/*.csr",
    "/etc/Pegasus/*.pem",
    "/etc/salt/pki/minion/*",
    "/etc/salt/minion_id",
    "/etc/chef/client.pem",
    "/var/cfengine/ppkeys/*",
    "/opt/consul/node-id",
    "/var/lib/consul/node-id",
    "/etc/docker/key.json",
    "/var/lib/docker/engine-id",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
