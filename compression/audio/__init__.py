"""Speech emotion: RoutingConvNet and a smaller network, trained, compared, exported and run."""
