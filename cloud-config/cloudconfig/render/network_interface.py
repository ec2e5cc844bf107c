"""An interface's `.network`, systemd.network(5), and a card's `.link`, systemd.link(5)."""

from cloudconfig.model.network_checks import LINK_KEYS
from cloudconfig.model.network_devices import (
    Activation,
    AddressGeneration,
    Device,
    Ethernet,
    LinkLocal,
    Match,
    Vrf,
)
from cloudconfig.model.network_parts import (
    AddressOptions,
    Dhcp4Overrides,
    Dhcp6Overrides,
    RaOverrides,
    Route,
    Rule,
)
from cloudconfig.render.network_text import Section
from cloudconfig.render.network_ties import Ties

DHCP_METRIC = 100  # netplan's, of routes that a lease brings
_ACTIVATION = {Activation.MANUAL: "manual", Activation.OFF: "always-down"}
_OFFLOADS = {
    "receive_checksum_offload": "ReceiveChecksumOffload",
    "transmit_checksum_offload": "TransmitChecksumOffload",
    "tcp_segmentation_offload": "TCPSegmentationOffload",
    "tcp6_segmentation_offload": "TCP6SegmentationOffload",
    "generic_segmentation_offload": "GenericSegmentationOffload",
    "generic_receive_offload": "GenericReceiveOffload",
    "large_receive_offload": "LargeReceiveOffload",
}


def interface_file(name: str, device: Device, ties: Ties) -> list[Section]:
    """The sections of an interface's `.network`."""
    sections = [_match(name, device), _link(device, ties), _network(device, ties)]
    if not _is_port(ties):
        sections += _addresses(device) + _routes(device)
        sections += [_rule(rule, _table(device)) for rule in device.routing_policy]
        sections += [_dhcp4(device), _dhcp6(device), _accept_ra(device)]
    return [*sections, _bridge_port(name, ties)]


def link_file(name: str, device: Ethernet) -> list[Section]:
    """The sections of a card's `.link`; none when udev has nothing to do."""
    if device.set_name is None and all(getattr(device, key) is None for key in LINK_KEYS):
        return []
    match, link = Section("Match"), Section("Link")
    _card(match, device.match or Match(name=name), "OriginalName")
    if device.set_name is not None:
        link.add("Name", device.set_name)
    else:
        # The first .link that fits is the only one: these are the lines of 99-default.link.
        link.add("NamePolicy", "keep kernel database onboard slot path")
    link.add("AlternativeNamesPolicy", "database onboard slot path mac")
    link.add("MACAddressPolicy", "persistent")
    if device.wakeonlan is not None:
        link.add("WakeOnLan", "magic" if device.wakeonlan else "off")
    for field, key in _OFFLOADS.items():
        link.add(key, getattr(device, field))
    return [match, link]


def _is_port(ties: Ties) -> bool:
    return ties.bond is not None or ties.bridge is not None


def _match(name: str, device: Device) -> Section:
    section = Section("Match")
    if not isinstance(device, Ethernet) or device.match is None:
        section.add("Name", name)
        return section
    match = device.match
    if device.set_name is not None and match.macaddress is None:
        # By its new name; by the old one too, where that alone says which card it is.
        names = [device.set_name, *([match.name] if match.name and not match.driver else [])]
        match = Match(name=" ".join(names), driver=match.driver)
    elif device.set_name is not None:
        match = Match(macaddress=match.macaddress, driver=match.driver)
    _card(section, match, "Name")
    return section


def _card(section: Section, match: Match, name_key: str) -> None:
    if match.macaddress is not None:
        # Not MACAddress: VLANs, bonds and bridges share that with their card.
        section.add("PermanentMACAddress", match.macaddress.lower())
    section.add(name_key, match.name)
    drivers = (match.driver,) if isinstance(match.driver, str) else match.driver or ()
    section.joined("Driver", drivers)
    if match.macaddress is None and (match.name is None or set(match.name) & set("*?[")):
        # Without the interfaces of pods, and what else is made by programs.
        section.add("Type", "!loopback")
        section.add("Kind", "!*")


def _link(device: Device, ties: Ties) -> Section:
    section = Section("Link")
    if isinstance(device, Ethernet):
        section.add("MACAddress", device.macaddress)
    section.add("MTUBytes", device.mtu)
    if device.activation_mode is not None:
        section.add("ActivationPolicy", _ACTIVATION[device.activation_mode])
    if device.optional:
        section.add("RequiredForOnline", "no")
    elif not _is_port(ties) and _unaddressed(device):
        # Without any address it would never get further.
        section.add("RequiredForOnline", "carrier")
    return section


def _unaddressed(device: Device) -> bool:
    asks = device.dhcp4 or device.dhcp6 or device.addresses or device.accept_ra
    return device.link_local == () and not asks


def _network(device: Device, ties: Ties) -> Section:
    section = Section("Network")
    if _is_port(ties):
        section.add("LinkLocalAddressing", "no")
    else:
        _network_addresses(section, device)
    if isinstance(device, Ethernet) and device.emit_lldp:
        section.add("EmitLLDP", "yes")
    if not isinstance(device, Ethernet) or device.ignore_carrier:
        section.add("ConfigureWithoutCarrier", "yes")
    if device.critical:
        section.add("KeepConfiguration", "yes")
    section.add("Bond", ties.bond)
    if ties.primary:
        section.add("PrimarySlave", "yes")
    section.add("Bridge", ties.bridge)
    section.add("VRF", ties.vrf)
    section.each("VLAN", ties.vlans)
    section.each("VXLAN", ties.vxlans)
    return section


def _network_addresses(section: Section, device: Device) -> None:
    if device.dhcp4 or device.dhcp6:
        both = device.dhcp4 and device.dhcp6
        section.add("DHCP", "yes" if both else "ipv4" if device.dhcp4 else "ipv6")
    if device.link_local is not None:
        families = set(device.link_local)
        both = families == set(LinkLocal)
        one = next(iter(families)).value if families else "no"
        section.add("LinkLocalAddressing", "yes" if both else one)
    if device.ipv6_address_generation is not None:
        section.add("IPv6LinkLocalAddressGenerationMode", device.ipv6_address_generation.value)
    section.add("IPv6AcceptRA", device.accept_ra)
    section.add("IPv6PrivacyExtensions", device.ipv6_privacy)
    section.add("IPv6MTUBytes", device.ipv6_mtu)
    plain = (item.interface for item in device.addresses if item.options == AddressOptions())
    section.each("Address", plain)
    if device.nameservers is not None:
        section.each("DNS", device.nameservers.addresses)
        section.joined("Domains", device.nameservers.search)


def _addresses(device: Device) -> list[Section]:
    sections = []
    for address in device.addresses:
        if address.options != AddressOptions():
            section = Section("Address")
            section.add("Address", address.interface)
            if address.options.lifetime is not None:
                section.add("PreferredLifetime", address.options.lifetime.value)
            section.add("Label", address.options.label)
            sections.append(section)
    return sections


def _table(device: Device) -> int | None:
    return device.table if isinstance(device, Vrf) else None


def _routes(device: Device) -> list[Section]:
    routers = (device.gateway4, device.gateway6)
    default = [Route(to="default", via=router) for router in routers if router is not None]
    return [_route(route, _table(device)) for route in (*default, *device.routes)]


def _route(route: Route, table: int | None) -> Section:
    section = Section("Route")
    to = route.to
    if to == "default":
        to_all = "0.0.0.0/0" if route.version == 4 else "::/0"
        section.add("Destination", to_all)
    else:
        section.add("Destination", to)
    section.add("Gateway", route.via)
    section.add("GatewayOnLink", route.on_link or None)
    section.add("PreferredSource", route.source)
    section.add("Metric", route.metric)
    section.add("Type", route.type.value if route.type else None)
    section.add("Scope", route.scope.value if route.scope else None)
    section.add("Table", route.table or table)
    section.add("MTUBytes", route.mtu)
    section.add("InitialCongestionWindow", route.congestion_window)
    section.add("InitialAdvertisedReceiveWindow", route.advertised_receive_window)
    section.add("TCPAdvertisedMaximumSegmentSize", route.advertised_mss)
    return section


def _rule(rule: Rule, table: int | None) -> Section:
    section = Section("RoutingPolicyRule")
    section.add("From", rule.source)
    section.add("To", rule.to)
    section.add("Table", rule.table or table)
    section.add("Priority", rule.priority)
    section.add("FirewallMark", rule.mark)
    section.add("TypeOfService", rule.type_of_service)
    return section


def _dhcp4(device: Device) -> Section:
    section = Section("DHCPv4")
    if not device.dhcp4:
        return section
    overrides = device.dhcp4_overrides or Dhcp4Overrides()
    if device.dhcp_identifier is not None:
        section.add("ClientIdentifier", device.dhcp_identifier.value)
    metric = overrides.route_metric
    section.add("RouteMetric", DHCP_METRIC if metric is None else metric)
    # networkd would not take the MTU, which breaks clouds; domains are as in 80-dhcp.network.
    section.add("UseMTU", overrides.use_mtu is not False and device.mtu is None)
    section.add("UseDomains", overrides.use_domains or "yes")
    section.add("UseRoutes", overrides.use_routes)
    _lease(section, overrides)
    return section


def _dhcp6(device: Device) -> Section:
    section = Section("DHCPv6")
    if not device.dhcp6:
        return section
    if device.accept_ra is False:
        # Else the client waits for a router to tell it to begin.
        section.add("WithoutRA", "solicit")
    overrides = device.dhcp6_overrides or Dhcp6Overrides()
    section.add("UseDomains", overrides.use_domains)
    _lease(section, overrides)
    return section


def _lease(section: Section, overrides: Dhcp4Overrides | Dhcp6Overrides) -> None:
    section.add("UseDNS", overrides.use_dns)
    section.add("UseNTP", overrides.use_ntp)
    section.add("UseHostname", overrides.use_hostname)
    section.add("SendHostname", overrides.send_hostname)
    section.add("Hostname", overrides.hostname)


def _accept_ra(device: Device) -> Section:
    section = Section("IPv6AcceptRA")
    if device.ipv6_address_token is not None:
        section.add("Token", f"static:{device.ipv6_address_token}")
    elif device.ipv6_address_generation is not None:
        private = device.ipv6_address_generation is AddressGeneration.STABLE_PRIVACY
        section.add("Token", "prefixstable" if private else "eui64")
    overrides = device.ra_overrides or RaOverrides()
    section.add("UseDNS", overrides.use_dns)
    section.add("UseDomains", overrides.use_domains)
    section.add("RouteTable", overrides.table)
    if device.dhcp6 and device.dhcp6_overrides:
        section.add("RouteMetric", device.dhcp6_overrides.route_metric)
    return section


def _bridge_port(name: str, ties: Ties) -> Section:
    section = Section("Bridge")
    section.add("Cost", ties.bridge_parameters.path_cost.get(name))
    section.add("Priority", ties.bridge_parameters.port_priority.get(name))
    return section
