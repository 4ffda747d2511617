//! Which addresses belong to the public internet: those outside IANA's registries of special purposes.
//!
//! For IPv6 the question is turned round. Only 2000::/3 is given out for public use, so everything else is
//! refused without being named: loopback, unique-local, link-local, site-local, multicast, and the forms
//! that have an IPv4 address inside (::a.b.c.d, ::ffff:a.b.c.d, NAT64's 64:ff9b::/96 and 64:ff9b:1::/48),
//! which a gateway would carry to that address, private ones included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are no public hosts: address and bits of its prefix.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network, RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared by carriers, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local and clouds' metadata, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocols, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private, RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved and broadcast, RFC 1112
    // A public address that, inside Azure, is the host's own service.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// The part of IPv6 that is given out for public use, RFC 4291.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks of that part that are no public hosts.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    // IETF protocols, RFC 2928: Teredo, benchmarks, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation, RFC 3849
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),     // 6to4, RFC 3056: IPv4 inside
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),     // documentation, RFC 9637
];

/// Whether `address` may be that of a public server.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let within = |(block, bits): &(Ipv4Addr, u32)| {
                let shift = u32::BITS - bits;
                address.to_bits() >> shift == block.to_bits() >> shift
            };
            !SPECIAL_V4.iter().any(within)
        }
        IpAddr::V6(address) => {
            let within = |(block, bits): &(Ipv6Addr, u32)| {
                let shift = u128::BITS - bits;
                address.to_bits() >> shift == block.to_bits() >> shift
            };
            within(&PUBLIC_V6) && !SPECIAL_V6.iter().any(within)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_public_or_not() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00:1450:4001::200e",
            "2003::1",
        ];
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:0:53aa:64c::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        assert!(public.len() + special.len() > 60);
        for (addresses, expected) in [(&public[..], true), (&special[..], false)] {
            for text in addresses {
                assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_form_of_ipv6_hides_a_private_address(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert!(!is_public(v4.to_ipv6_mapped().into()));
            prop_assert!(!is_public(v4.to_ipv6_compatible().into()));
            for prefix in [0x2002_u128 << 112, 0x64_ff9b_u128 << 96] {
                let shift = if prefix >> 112 == 0x2002 { 80 } else { 0 };
                let hidden = Ipv6Addr::from_bits(prefix | u128::from(bits) << shift);
                prop_assert!(!is_public(hidden.into()), "{hidden}");
            }
        }

        #[test]
        fn what_the_standard_library_calls_private_is_never_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let private = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_documentation() || v4.is_unspecified() || v4.is_broadcast();
            prop_assert!(!(private && is_public(v4.into())), "{v4}");
        }
    }
}
