//! Messages of DNS, signed with TSIG (RFC 8945), over TCP: one connection for each, so that nothing is cut off or lost unnoticed.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType, TSigner,
        rdata::{
            PTR, SSHFP,
            sshfp::FingerprintType,
            tsig::{TsigAlgorithm, TsigError},
        },
    },
};
use uuid::Uuid;

use crate::core::{
    dns::{
        tsig::{Algorithm, TsigKey},
        update::{Change, Data, Prerequisite, RecordKind, Update},
    },
    vm_spec::DomainName,
};

/// For one question and its answer, attempts to connect included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between attempts to connect: a server that is being restarted is back soon.
const PAUSE: Duration = Duration::from_millis(300);
/// How far apart the two clocks may be, in seconds: RFC 8945, 10.
const FUDGE: u16 = 300;

/// A server, and the key that is shared with it.
pub(super) struct Peer {
    address: SocketAddr,
    signer: TSigner,
}

/// The answer to an update, where it is one that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The prerequisites held, and what was asked for is done.
    Done,
    /// A prerequisite did not hold; nothing was changed.
    PrerequisiteFailed,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, key: &TsigKey) -> Result<Self> {
        let algorithm = match key.algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        let signer = TSigner::new(key.secret.expose().clone(), algorithm, name(&key.name)?, FUDGE)?;
        Ok(Self { address, signer })
    }

    /// Sends an update.
    pub(super) fn update(&self, update: &Update, ttl: u32) -> Result<Answer> {
        let message = encode(update, ttl)?;
        let response = self.exchange(message)?;
        match response.response_code {
            ResponseCode::NoError => Ok(Answer::Done),
            ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet | ResponseCode::NXDomain => {
                Ok(Answer::PrerequisiteFailed)
            }
            code => Err(self.complaint(code, &update.zone)),
        }
    }

    /// What a name has, a line each: `A 192.0.2.1`. Signed as well: the server may show a key's holder another view of the zone.
    pub(super) fn records(&self, of: &str) -> Result<Vec<String>> {
        let mut message = Message::new(id(), MessageType::Query, OpCode::Query);
        let of = name(of)?;
        message.add_query(Query::query(of.clone(), RecordType::ANY));
        let response = self.exchange(message)?;
        let signatures = [RecordType::RRSIG, RecordType::NSEC, RecordType::NSEC3];
        let records = response.answers.iter().filter(|record| record.name == of && !signatures.contains(&record.record_type()));
        let mut lines: Vec<String> = records
            .map(|record| {
                let data: String = record.data.to_string().chars().take(200).flat_map(char::escape_debug).collect();
                format!("{} {}", record.record_type(), data.trim_end_matches('.'))
            })
            .collect();
        lines.sort();
        Ok(lines)
    }

    fn complaint(&self, code: ResponseCode, zone: &DomainName) -> anyhow::Error {
        let key = self.signer.signer_name().to_ascii();
        let key = key.trim_end_matches('.');
        match code {
            ResponseCode::Refused => {
                anyhow!("the server refuses it: the key {key} may not do this in {zone} (update-policy, in BIND)")
            }
            ResponseCode::NotAuth => anyhow!("the server is not the primary one of the zone {zone}"),
            ResponseCode::NotZone => anyhow!("the server says that the name is not in the zone {zone}"),
            ResponseCode::NotImp => anyhow!("the server takes no updates (NOTIMP)"),
            code => anyhow!("the server answers: {code}"),
        }
    }

    /// Sends a message and takes the answer, with its signature checked.
    fn exchange(&self, mut message: Message) -> Result<Message> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        let verifier = message.finalize(&self.signer, now).context("signing")?;
        let bytes = message.to_vec().context("encoding")?;
        let answer = transport(self.address, &bytes).with_context(|| format!("asking the DNS server {}", self.address))?;
        let response = Message::from_vec(&answer).context("the server's answer is no message of DNS")?;
        ensure!(
            response.id == message.id && response.message_type == MessageType::Response && response.op_code == message.op_code,
            "the server's answer belongs to another question"
        );
        // A server that cannot check our signature cannot sign its answer. Such a one only ever makes us stop.
        if let Some(error) = response.signature().and_then(|signature| signature.data.error) {
            return Err(self.key_complaint(error));
        }
        let verified = verifier.context("signing")?.verify(&answer);
        match verified {
            Ok(_) => Ok(response),
            Err(_) if response.response_code != ResponseCode::NoError => {
                Err(anyhow!("the server answers, without signing it: {}", response.response_code))
            }
            Err(error) => Err(anyhow!("the server's answer is not signed with the key: {error}")),
        }
    }

    fn key_complaint(&self, error: TsigError) -> anyhow::Error {
        let key = self.signer.signer_name().to_ascii();
        let key = key.trim_end_matches('.');
        match error {
            TsigError::BadKey => anyhow!("the server knows no key {key} with this algorithm (BADKEY)"),
            TsigError::BadSig => anyhow!("the server has another secret for the key {key} (BADSIG)"),
            TsigError::BadTime => anyhow!("this machine's clock and the server's are more than {FUDGE} s apart (BADTIME)"),
            error => anyhow!("the server does not take the signature with the key {key}: TSIG error {}", u16::from(error)),
        }
    }
}

fn id() -> u16 {
    let [a, b, ..] = *Uuid::new_v4().as_bytes();
    u16::from_be_bytes([a, b])
}

fn name(text: &str) -> Result<Name> {
    let mut name = Name::from_ascii(text).with_context(|| format!("encoding the name {text}"))?;
    name.set_fqdn(true);
    Ok(name)
}

fn encode(update: &Update, ttl: u32) -> Result<Message> {
    let owner = name(&update.name)?;
    let mut message = Message::new(id(), MessageType::Query, OpCode::Update);
    // The sections of an update have the places of a query's: RFC 2136, 2.
    message.add_query(Query::query(name(update.zone.as_str())?, RecordType::SOA));
    for prerequisite in &update.prerequisites {
        match prerequisite {
            Prerequisite::NotInUse => message.add_answer(empty(&owner, DNSClass::NONE, RecordType::ANY)),
            Prerequisite::None(kind) => message.add_answer(empty(&owner, DNSClass::NONE, record_type(*kind))),
            Prerequisite::Just(data) => {
                for data in data {
                    message.add_answer(Record::from_rdata(owner.clone(), 0, record_data(data)?));
                }
                &mut message
            }
        };
    }
    for change in &update.changes {
        message.add_authority(match change {
            Change::Add(data) => Record::from_rdata(owner.clone(), ttl, record_data(data)?),
            Change::Remove(data) => {
                let mut record = Record::from_rdata(owner.clone(), 0, record_data(data)?);
                record.dns_class = DNSClass::NONE;
                record
            }
        });
    }
    Ok(message)
}

/// A record without data, which stands for a whole set of records.
fn empty(owner: &Name, class: DNSClass, of: RecordType) -> Record {
    let mut record = Record::update0(owner.clone(), 0, of);
    record.dns_class = class;
    record
}

fn record_type(kind: RecordKind) -> RecordType {
    match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::Ptr => RecordType::PTR,
        RecordKind::Sshfp => RecordType::SSHFP,
    }
}

fn record_data(data: &Data) -> Result<RData> {
    Ok(match data {
        Data::A(address) => RData::A((*address).into()),
        Data::Aaaa(address) => RData::AAAA((*address).into()),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Sshfp(algorithm, digest) => RData::SSHFP(SSHFP::new((*algorithm).into(), FingerprintType::SHA256, digest.to_vec())),
    })
}

/// One message there and one back, each with its length in front of it: RFC 1035, 4.2.2.
fn transport(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let end = Instant::now() + DEADLINE;
    let mut stream = connect(server, end)?;
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("the message is longer than 65,535 bytes"))?;
    stream.set_write_timeout(Some(left(end)?))?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, end)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    fill(&mut stream, &mut answer, end)?;
    Ok(answer)
}

/// Connects, again and again until the end. Only this is repeated: what has been sent may have been done.
fn connect(server: SocketAddr, end: Instant) -> io::Result<TcpStream> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match TcpStream::connect_timeout(&server, left(end)?) {
            Ok(stream) => return Ok(stream),
            // Nobody listens: three times is enough to tell a restart from a wrong address.
            Err(error) if attempts == 3 || error.kind() == ErrorKind::TimedOut => return Err(error),
            Err(_) => thread::sleep(PAUSE.min(left(end)?)),
        }
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut [u8], end: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection without an answer")),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left; a socket takes no timeout of zero.
fn left(end: Instant) -> io::Result<Duration> {
    end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(late)
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", DEADLINE.as_secs()))
}
