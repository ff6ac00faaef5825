//! Where a question may lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The flag that allows more.
pub const FLAG: &str = "--allow-metric-addresses";

/// Addresses at which machines of a cloud are told their own credentials, beside those that are link-local.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What the operator allows although it would be refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allowed(Arc<[Network]>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Allowed {
    /// Reads addresses, networks (`127.0.0.0/8`) and `all`, with commas between.
    pub fn parse(text: &str) -> Result<Allowed, String> {
        let mut networks = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part == "all" {
                networks.push(Network { address: Ipv4Addr::UNSPECIFIED.into(), bits: 0 });
                networks.push(Network { address: Ipv6Addr::UNSPECIFIED.into(), bits: 0 });
                continue;
            }
            let (address, bits) =
                part.split_once('/').map_or((part, None), |(address, bits)| (address, Some(bits)));
            let wrong = || format!("{part:?} is no address, no network and not `all`");
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
            if bits > most {
                return Err(wrong());
            }
            networks.push(Network { address, bits });
        }
        Ok(Allowed(networks.into()))
    }

    /// Judges an address that names no host but is one, and what is no address of HTTP.
    pub(super) fn judge(&self, url: &Url, is_guarded: bool) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{} is not asked, only http and https", url.scheme()));
        }
        let host = url.host_str().ok_or("there is no host in the address")?;
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if is_guarded => self.refusal(address).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// Why an address is refused; nothing if it is not.
    pub fn refusal(&self, address: IpAddr) -> Option<String> {
        let meant = embedded(address);
        let what = what_it_is(meant)?;
        if self.0.iter().any(|network| network.contains(meant)) {
            return None;
        }
        Some(format!(
            "{address} is {what}, where analyses may not lead unless the operator allows it with {FLAG}"
        ))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        self.bits == 0 || (own ^ other) >> (width - u32::from(self.bits)) == 0
    }
}

/// The address of version 4 that one of version 6 stands for.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let four = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match six.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => four(high, low),
        // Translators of networks without version 4 (RFC 6052), and tunnels (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

/// What is special about an address.
fn what_it_is(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a metadata address of a cloud");
    }
    let is_link_local = match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    let is_nowhere = match address {
        // The whole network means "this machine".
        IpAddr::V4(four) => four.octets()[0] == 0 || four.is_broadcast(),
        IpAddr::V6(six) => six.is_unspecified(),
    };
    if address.is_loopback() {
        Some("a loopback address")
    } else if is_link_local {
        Some("a link-local address")
    } else if is_nowhere {
        Some("an address of this machine")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

/// Resolves names, and refuses those that lead where they may not.
#[derive(Clone)]
pub(super) struct Guard {
    pub allowed: Allowed,
    pub is_on: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One bad address spoils the name: which of them is taken is chance.
            let refusal = found.iter().find_map(|address| guard.allowed.refusal(address.ip()));
            if let Some(why) = refusal.filter(|_| guard.is_on) {
                return Err(format!("{}: {why}", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_this_machine_can_reach_are_refused() {
        let none = Allowed::default();
        let is_refused = |text: &str| none.refusal(text.parse().expect("an address")).is_some();
        for inner in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(is_refused(inner), "{inner}");
        }
        for outer in
            ["10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "100.64.0.1"]
        {
            assert!(!is_refused(outer), "{outer}");
        }
    }

    #[test]
    fn the_operator_allows_addresses_networks_or_all() {
        let allows = |rule: &str, address: &str| {
            Allowed::parse(rule).expect("a rule").refusal(address.parse().expect("an address")).is_none()
        };
        assert!(allows("127.0.0.0/8", "127.0.0.1"));
        assert!(!allows("127.0.0.0/8", "169.254.169.254"));
        assert!(allows("127.0.0.1, ::1", "::1"));
        assert!(!allows("127.0.0.1", "127.0.0.2"));
        assert!(allows("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(allows("fe80::/10", "fe80::5"));
        assert!(allows("all", "::1") && allows("all", "169.254.169.254"));
        assert!(!allows("", "127.0.0.1"));
        for wrong in ["localhost", "127.0.0.1/33", "1.2.3", "::1/x"] {
            assert!(Allowed::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn odd_spellings_of_an_address_are_that_address() {
        let judged = |url: &str| Allowed::default().judge(&Url::parse(url).expect("a URL"), true);
        for inner in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1:9090/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "ftp://host/",
        ] {
            assert!(judged(inner).is_err(), "{inner}");
        }
        assert_eq!(judged("http://prometheus.monitoring:9090/"), Ok(()));
        assert_eq!(Allowed::default().judge(&Url::parse("http://127.0.0.1").expect("a URL"), false), Ok(()));
    }
}
