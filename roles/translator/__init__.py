"""The translator: SV1 miners on one side, SV2 channels at the proxy on the other."""
