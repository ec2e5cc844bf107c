"""Who runs what, agreed in etcd: hosts, slots, placement, changes that roll out, the fence."""
