package native

func widest(string) *isa { return portable }
