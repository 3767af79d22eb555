"""The proxy: SV2 to the miners, SV2 to the pool, and the wallet that turns their shares into ehash."""
