"""The overlay: a subnet for every host, agreed in etcd by flannel's own contract."""
