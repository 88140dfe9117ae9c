"""What a scale costs before it is run: work as torch counts it, time by measured throughput, disk and download."""
