module example.com/jetmesh/contracts

go 1.23
